"""Pronunciations (ARPAbet) of the words that the mini corpus's captions use."""

from __future__ import annotations

PRONUNCIATIONS = {
    "a": "AH0", "above": "AH0 B AH1 V", "an": "AE1 N", "and": "AE1 N D", "at": "AE1 T",
    "balloon": "B AH0 L UW1 N", "banana": "B AH0 N AE1 N AH0", "beach": "B IY1 CH",
    "below": "B IH0 L OW1", "beside": "B IH0 S AY1 D", "bicycle": "B AY1 S IH0 K AH0 L",
    "blue": "B L UW1", "boat": "B OW1 T", "bus": "B AH1 S",
    "butterfly": "B AH1 T ER0 F L AY2", "cactus": "K AE1 K T AH0 S", "cake": "K EY1 K",
    "camera": "K AE1 M ER0 AH0", "chair": "CH EH1 R", "clock": "K L AA1 K",
    "crown": "K R AW1 N", "dog": "D AO1 G", "elephant": "EH1 L AH0 F AH0 N T",
    "fish": "F IH1 SH", "grass": "G R AE1 S", "green": "G R IY1 N", "guitar": "G IH0 T AA1 R",
    "hammer": "HH AE1 M ER0", "house": "HH AW1 S", "in": "IH1 N", "is": "IH1 Z",
    "moon": "M UW1 N", "mushroom": "M AH1 SH R UW2 M", "near": "N IH1 R",
    "next": "N EH1 K S T", "night": "N AY1 T", "octopus": "AA1 K T AH0 P UH2 S",
    "on": "AA1 N", "orange": "AO1 R AH0 N JH", "over": "OW1 V ER0",
    "penguin": "P EH1 NG G W IH0 N", "pizza": "P IY1 T S AH0", "purple": "P ER1 P AH0 L",
    "rabbit": "R AE1 B AH0 T", "red": "R EH1 D", "rocket": "R AA1 K AH0 T",
    "single": "S IH1 NG G AH0 L", "snake": "S N EY1 K", "snow": "S N OW1",
    "spider": "S P AY1 D ER0", "star": "S T AA1 R", "the": "DH AH0", "there": "DH EH1 R",
    "to": "T UW1", "tree": "T R IY1", "trumpet": "T R AH1 M P AH0 T",
    "turtle": "T ER1 T AH0 L", "umbrella": "AH0 M B R EH1 L AH0", "under": "AH1 N D ER0",
    "with": "W IH1 DH", "yellow": "Y EH1 L OW0",
}  # fmt: skip
