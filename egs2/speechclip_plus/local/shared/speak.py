"""Let synthetic voices say captions that nobody has read aloud.

SPEECH-COCO did so for MSCOCO (Havard, Besacier, Rosec 2017, arXiv:1707.08435).
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path

from espnet_plugin.data.datadir import SYNTHETIC
from espnet_plugin.data.english import is_english
from espnet_plugin.utils.errors import DataError
from espnet_plugin.utils.progress import counted

from .randomness import random_stream, seed_of
from .speech_synthesis import VoicedCaption, languages, speak_captions, variants
from .spoken_captions import SPLITS, Corpus, SpokenCaption, safe_id

BLOCK_SIZE = 500  # captions of one process, about ten seconds of work
ENGLISH = (
    *("en", "en-us", "en-us-nyc", "en-029"),
    *("en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd"),
)
HELD_OUT = 10  # one variant in so many is dev's alone, and another one test's
# in eSpeak NG's units, as mini's voices have them
_WORDS_PER_MINUTE, _PITCH, _PITCH_RANGE = (150, 190), (40, 60), (40, 60)
_RARE = 0.25  # a script that a smaller share of a language's captions uses is not that language's
_JAPANESE = ("HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA")


def speak_corpus(corpus: Corpus, folder: Path, *, jobs: int) -> Corpus:
    """Let voices of eSpeak NG say the captions without a recording.

    All captions of dev are said by them, or none, because one recording by a person is there; so
    are test's. Training may mix. No voice of one set speaks in another. If any caption is in
    another language than English, the corpus has no ``text``, which is what CLIP reads.

    Args:
        corpus: Corpus whose captions may have no recording.
        folder: Folder for the recordings. Its name is the new corpus's, and gives the seed: 3 if it
            ends with ``_seed3``, else 0.
        jobs: Number of processes.

    Returns:
        The corpus with all captions: those that were said have a recording, a voice, and an id that
        begins with ``espeak-``. Those that cannot be said have a problem.

    Raises:
        DataError: If a language has no voice.
        MissingPackageError: If the synthesiser is not installed.
    """
    items = list(corpus.captions)
    by_people = [os.path.isfile(item.recording) for item in items]
    closed = {item.split for item, there in zip(items, by_people, strict=True) if there} - {"train"}
    places = [
        place
        for place, item in enumerate(items)
        if item.split in corpus.splits
        and item.split not in closed
        and not by_people[place]
        and item.caption is not None
        and not item.problem
        and os.path.isfile(item.image_file)
    ]
    problems = _problems([items[place] for place in places])
    voice_of = partial(_draw_voice, seed_of(folder.name), voices_of_splits(seed_of(folder.name)))
    said = [voice_of(items[p]) for p, problem in zip(places, problems, strict=True) if not problem]
    words = speak_captions(said, folder, jobs=jobs, block_size=BLOCK_SIZE)
    voices = {caption.utterance_id: caption.voice for caption in said}
    for place, problem in zip(places, problems, strict=True):
        utterance = f"{SYNTHETIC}{items[place].utterance}"
        if not problem and utterance not in words:
            problem = "eSpeak NG says nothing for the caption"
        items[place] = dataclasses.replace(
            items[place],
            utterance=utterance,
            recording=str(folder / "wavs" / f"{utterance}.wav"),
            speaker=f"{SYNTHETIC}{safe_id(voices.get(utterance, '').replace('+', '_'))}",
            problem=problem,
        )
    notes = [*corpus.notes, *_notes(corpus.splits, items, by_people)]
    if foreign := sorted({caption.language for caption in said if _is_foreign(caption.language)}):
        items = [dataclasses.replace(item, caption=None) for item in items]
        notes.append(
            f"captions in {', '.join(foreign)}: CLIP cannot read them, so the sets have no text; "
            "give --vocab_from clip, or --vocab_text with English words"
        )
    return dataclasses.replace(
        corpus,
        name=folder.name,
        roots=[*corpus.roots, folder],
        captions=items,
        notes=notes,
        words={name: [w for w in spoken if _is_word(w[0])] for name, spoken in words.items()},
    )


def voices_of_splits(seed: int) -> dict[str, list[str]]:
    """Draw the voice variants of each split: 84 of 104 for train, ten each for dev and test."""
    names = variants()
    order = [names[place] for place in random_stream(seed, "voices").permutation(len(names))]
    few = len(order) // HELD_OUT
    drawn = (order[2 * few :], order[:few], order[few : 2 * few])
    return dict(zip(SPLITS, map(sorted, drawn), strict=True))


def varieties(language: str) -> tuple[str, ...]:
    """eSpeak NG's names for the varieties of a language, where a corpus has one name for all.

    Args:
        language: Name in ``utt2lang``, such as ``sw``; an empty one means English.

    Raises:
        DataError: If eSpeak NG does not speak it.
    """
    known = languages()
    code = language.lower().replace("_", "-")
    if code in known and code != "en":
        return (code,)
    if is_english(language or "en"):
        return ENGLISH
    codes = {name.lower(): code for code, name in known.items()}
    near = [codes.get(name, name) for name in difflib.get_close_matches(code, [*codes, *known])]
    advice = ", ".join(f"{code} ({known[code]})" for code in dict.fromkeys(near))
    raise DataError(
        f"eSpeak NG has no voice for the language {language!r}. "
        f"{'The nearest' if near else 'It speaks'}: {advice or ', '.join(known)}"
    )


def _draw_voice(
    seed: int, voices: Mapping[str, Sequence[str]], item: SpokenCaption
) -> VoicedCaption:
    # a stream of its own: what else is in the corpus changes nobody's voice
    rng = random_stream(seed, item.utterance)
    spoken, variant = varieties(item.language), voices[item.split]
    return VoicedCaption(
        utterance_id=f"{SYNTHETIC}{item.utterance}",
        image_id=item.image,
        text=item.caption or "",
        voice=f"{spoken[rng.integers(len(spoken))]}+{variant[rng.integers(len(variant))]}",
        words_per_minute=int(rng.integers(*_WORDS_PER_MINUTE, endpoint=True)),
        pitch=int(rng.integers(*_PITCH, endpoint=True)),
        pitch_range=int(rng.integers(*_PITCH_RANGE, endpoint=True)),
        language=item.language,
    )


def _problems(items: Sequence[SpokenCaption]) -> list[str]:
    """Why each caption cannot be said, or an empty text."""
    scripts = [script_of(item.caption or "") for item in items]
    used: dict[str, Counter[str]] = defaultdict(Counter)
    for item, script in zip(items, scripts, strict=True):
        if script:
            used[item.language][script] += 1
    return list(_judged(items, scripts, used))


def _judged(
    items: Sequence[SpokenCaption], scripts: Sequence[str], used: Mapping[str, Counter[str]]
) -> Iterator[str]:
    for item, script in zip(items, scripts, strict=True):
        counts = used[item.language]
        if not script:
            yield "caption without a letter"
        elif counts[script] < _RARE * counts.total():
            yield f"caption in another script ({script.lower()})"
        else:
            yield ""


def script_of(text: str) -> str:
    """The script of most letters, as Unicode names it; empty without a letter.

    >>> script_of("a dog, кот"), script_of("42!")
    ('LATIN', '')
    """
    found = Counter(_script(letter) for letter in text if letter.isalpha())
    return found.most_common(1)[0][0] if found else ""


@cache
def _script(letter: str) -> str:
    first = unicodedata.name(letter, "UNNAMED").partition(" ")[0]
    return "CJK" if first in _JAPANESE else first  # Japanese mixes them


def _is_foreign(language: str) -> bool:
    return bool(language) and not is_english(language)


def _is_word(text: str) -> bool:
    return any(letter.isalnum() for letter in text)


def _notes(
    splits: Sequence[str], items: Sequence[SpokenCaption], by_people: Sequence[bool]
) -> Iterator[str]:
    """Who says each set's captions, in a sentence."""
    for split in splits:
        speakers = [
            item.speaker
            for item in items
            if item.split == split and item.utterance.startswith(SYNTHETIC) and not item.problem
        ]
        people = sum(
            there for item, there in zip(items, by_people, strict=True) if item.split == split
        )
        voices = counted(len(set(speakers)), "synthetic voice")
        yield f"{split}: captions by eSpeak NG: {len(speakers):,} ({voices}), by people: {people:,}"
