"""Read and write ``keywords.jsonl``, the keywords of a model's cascaded branch."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet_plugin.utils.atomic import write_text


@dataclass(frozen=True)
class Keyword:
    """A keyword that the model found in an utterance.

    Attributes:
        token_id: CLIP's id of the nearest sub-word.
        token: Its text as the vocabulary writes it, ``</w>`` at a word's end.
        top: Ids of the sub-words nearest to the keyword, nearest first; files of other models may
            have special tokens among them.
        start: Where its segment starts, in seconds; None when the extractor does not segment (cls).
        end: Where its segment ends, in seconds; None likewise.
        neighbours: Ids of the vocabulary's rows nearest to the chosen one, itself first, with
            special tokens, for the original's hit rate. Empty in files without them.
        score: Cosine similarity of the keyword and the sub-word's embedding; None in files without.
    """

    token_id: int
    token: str
    top: tuple[int, ...]
    start: float | None = None
    end: float | None = None
    neighbours: tuple[int, ...] = ()
    score: float | None = None


@dataclass(frozen=True)
class UtteranceKeywords:
    """The keywords of one utterance beside its caption.

    Attributes:
        utterance: Utterance id.
        caption: The spoken words; None if they are unknown.
        caption_ids: CLIP tokens of the caption without special tokens; None likewise.
        keywords: In order of time (CIF) or of the queries (CLS).
        seconds: Length of the utterance.
        alphas: Weight of each frame, or None.
        fired: Frames at which a keyword was completed.
    """

    utterance: str
    caption: str | None
    caption_ids: tuple[int, ...] | None
    keywords: tuple[Keyword, ...]
    seconds: float = 0.0
    alphas: tuple[float, ...] | None = None
    fired: tuple[int, ...] = ()


def write_keywords(path: str | Path, utterances: Iterable[UtteranceKeywords]) -> None:
    """Writes one JSON object a line; seconds, weights and scores have four digits."""
    lines = (json.dumps(_record(utterance), ensure_ascii=False) for utterance in utterances)
    write_text(path, "".join(f"{line}\n" for line in lines))


def read_keywords(path: str | Path) -> list[UtteranceKeywords]:
    """Reads one JSON object a line.

    Raises:
        FileNotFoundError: There is no such file (the model may have no cascaded branch).
        ValueError: A line is not such an object; names file and line.
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
                    f"{path}:{number}: not a keyword record ({type(error).__name__}: {error})"
                ) from error
            if utterance.utterance in seen:
                raise ValueError(f"{path}:{number}: {utterance.utterance} occurs twice")
            seen.add(utterance.utterance)
            utterances.append(utterance)
    if not utterances:
        raise ValueError(f"{path} is empty")
    bare = [utterance for utterance in utterances if utterance.caption_ids is None]
    if bare and len(bare) < len(utterances):
        raise ValueError(
            f"{path}: {bare[0].utterance} has no caption, but others have: run inference with "
            "--text"
        )
    return utterances


def read_captioned_keywords(path: str | Path) -> list[UtteranceKeywords]:
    """Like :func:`read_keywords`, of utterances whose captions the keywords can be compared with.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: As above, or there are no captions.
    """
    utterances = read_keywords(path)
    if utterances[0].caption_ids is None:
        raise ValueError(f"{path} has no captions: run inference with --text")
    return utterances


def _record(utterance: UtteranceKeywords) -> dict[str, Any]:
    record: dict[str, Any] = {
        "utt": utterance.utterance,
        "seconds": round(utterance.seconds, 4),
        "keywords": [_keyword_record(keyword) for keyword in utterance.keywords],
    }
    if utterance.alphas is not None:
        # by str, because a rounded float32 prints more digits
        record["alphas"] = [float(f"{alpha:.4f}") for alpha in utterance.alphas]
        record["fired"] = list(utterance.fired)
    if utterance.caption_ids is not None:
        record |= {"caption_ids": utterance.caption_ids, "caption": utterance.caption}
    return record


def _keyword_record(keyword: Keyword) -> dict[str, Any]:
    record: dict[str, Any] = {"token_id": keyword.token_id, "token": keyword.token}
    if keyword.score is not None:
        record["score"] = round(keyword.score, 4)
    record |= {"top": keyword.top, "neighbours": keyword.neighbours}
    if keyword.start is not None and keyword.end is not None:
        record |= {"start": round(keyword.start, 4), "end": round(keyword.end, 4)}
    return record


def _utterance(record: Any) -> UtteranceKeywords:
    if not isinstance(record, dict) or not isinstance(record.get("utt"), str):
        raise ValueError("not an object with an utterance")
    alphas, caption_ids = record.get("alphas"), record.get("caption_ids")
    return UtteranceKeywords(
        utterance=record["utt"],
        caption=None if caption_ids is None else record["caption"],
        caption_ids=None if caption_ids is None else tuple(int(i) for i in caption_ids),
        keywords=tuple(_keyword(keyword) for keyword in record["keywords"]),
        seconds=float(record.get("seconds") or 0.0),
        alphas=None if alphas is None else tuple(float(alpha) for alpha in alphas),
        fired=tuple(int(frame) for frame in record.get("fired") or ()),
    )


def _keyword(record: dict) -> Keyword:
    start, end, score = record.get("start"), record.get("end"), record.get("score")
    token_id = int(record["token_id"])
    return Keyword(
        token_id=token_id,
        token=record["token"],
        top=tuple(int(i) for i in record.get("top") or [token_id]),
        start=None if start is None else float(start),
        end=None if end is None else float(end),
        neighbours=tuple(int(i) for i in record.get("neighbours") or ()),
        score=None if score is None else float(score),
    )
