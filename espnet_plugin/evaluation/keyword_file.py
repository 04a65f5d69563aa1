"""Reads ``keywords.jsonl``, what a model's cascaded branch said about each utterance."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Keyword:
    """One keyword of an utterance.

    Attributes:
        token_id: Nearest CLIP token.
        token: Its text, e.g. ``"orange</w>"``.
        nearest: Ids of the tokens nearest to the keyword's embedding, nearest first, special tokens
            possibly among them.
        start: Where its segment starts, in seconds; None for keywords without a segment.
        end: Where its segment ends, in seconds.
        neighbours: Ids of the keyword vocabulary's rows nearest to the chosen one, itself first,
            special tokens possibly among them; empty in files that do not have them.
    """

    token_id: int
    token: str
    nearest: tuple[int, ...]
    start: float | None = None
    end: float | None = None
    neighbours: tuple[int, ...] = ()


@dataclass(frozen=True)
class UtteranceKeywords:
    """The keywords of one utterance beside its caption.

    Attributes:
        utterance: Utterance id.
        caption: What was said.
        caption_ids: CLIP tokens of the caption, special tokens left out.
        keywords: In order of time (CIF) or of the queries (CLS).
        seconds: Length of the utterance.
        alphas: Weight of each frame, or None.
        fired: Frames at which a keyword was completed.
    """

    utterance: str
    caption: str
    caption_ids: tuple[int, ...]
    keywords: tuple[Keyword, ...]
    seconds: float = 0.0
    alphas: tuple[float, ...] | None = None
    fired: tuple[int, ...] = ()


def read_keywords(path: str | Path) -> list[UtteranceKeywords]:
    """Reads one JSON object a line.

    Raises:
        FileNotFoundError: There is no such file (the model may have no cascaded branch).
        ValueError: A line is no such object; names file and line.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing: run the inference stage, with a model that has a cascaded branch"
        )
    utterances, seen = [], set()
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                utterance = _utterance(json.loads(line))
            except (
                ArithmeticError,
                AttributeError,
                LookupError,
                RecursionError,
                TypeError,
                ValueError,
            ) as error:
                raise ValueError(
                    f"{path}:{number}: no keyword record ({type(error).__name__}: {error})"
                ) from error
            if utterance.utterance in seen:
                raise ValueError(f"{path}:{number}: {utterance.utterance} occurs twice")
            seen.add(utterance.utterance)
            utterances.append(utterance)
    if not utterances:
        raise ValueError(f"{path} is empty")
    return utterances


def has_captions(path: str | Path) -> bool:
    """Whether there is such a file, and what was said is in it.

    Keywords of an unwritten language have no caption to be compared with.
    """
    path = Path(path)
    if not path.exists():
        return False
    with path.open(encoding="utf-8") as stream:
        try:
            return "caption_ids" in json.loads(next(stream, "") or "{}")
        except ValueError:
            return True  # read_keywords says what is wrong


def _utterance(record: Any) -> UtteranceKeywords:
    if not isinstance(record, dict) or not isinstance(record.get("utt"), str):
        raise ValueError("no object with an utterance")
    if "caption_ids" not in record:
        raise ValueError("it has no caption: run inference with --text")
    alphas = record.get("alphas")
    return UtteranceKeywords(
        utterance=record["utt"],
        caption=record["caption"],
        caption_ids=tuple(int(i) for i in record["caption_ids"]),
        keywords=tuple(_keyword(keyword) for keyword in record["keywords"]),
        seconds=float(record.get("seconds") or 0.0),
        alphas=None if alphas is None else tuple(float(alpha) for alpha in alphas),
        fired=tuple(int(frame) for frame in record.get("fired") or ()),
    )


def _keyword(record: dict) -> Keyword:
    start, end = record.get("start"), record.get("end")
    token_id = int(record["token_id"])
    return Keyword(
        token_id=token_id,
        token=record["token"],
        nearest=tuple(int(i) for i in record.get("top") or [token_id]),
        start=None if start is None else float(start),
        end=None if end is None else float(end),
        neighbours=tuple(int(i) for i in record.get("neighbours") or ()),
    )
