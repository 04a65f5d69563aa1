"""Read and write ``keywords.jsonl``, the keywords that a model found."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from espnet_plugin.utils.atomic import write_text


@dataclass(frozen=True)
class Keyword:
    """A keyword that the model found in an utterance.

    Attributes:
        token_id: CLIP's id of the nearest sub-word.
        token: Text of this sub-word as the vocabulary writes it, with ``</w>`` at a word's end.
        top: Ids of the sub-words nearest to the keyword, nearest first; files of other models may
            have special tokens among them.
        start: Second at which its segment starts to sound, or None if there are no segments (cls).
        end: Second at which its segment ceases to sound, or None.
        score: Cosine of the keyword and the sub-word's embedding, or None in files without scores.
        top_scores: Cosine of the keyword and each of ``top``; empty in files without them.
    """

    token_id: int
    token: str
    top: tuple[int, ...]
    start: float | None = None
    end: float | None = None
    score: float | None = None
    top_scores: tuple[float, ...] = ()


@dataclass(frozen=True)
class UtteranceKeywords:
    """The keywords of one utterance beside its caption.

    Attributes:
        utterance: Id of the utterance.
        caption: English caption that CLIP reads, a translation of other speech; None if unknown.
        caption_ids: CLIP tokens of the caption without special tokens, or None without a caption.
        keywords: Keywords in order of time (CIF) or of the queries (CLS).
        seconds: Length of the utterance in seconds.
        alphas: CIF's weight of each frame, or None without CIF.
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
    lines = []
    for utterance in utterances:
        record = _shown(asdict(utterance))
        record = {"utt": record.pop("utterance"), **record}
        lines.append(json.dumps(record, ensure_ascii=False) + "\n")
    write_text(path, "".join(lines))


def read_keywords(path: str | Path) -> list[UtteranceKeywords]:
    """Reads one JSON object a line.

    Raises:
        FileNotFoundError: If there is no such file (the model may have no cascaded branch).
        ValueError: If a line is not such an object; names file and line.
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
                twice = utterance.utterance in seen
            except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
                raise ValueError(
                    f"{path}:{number}: not a keyword record ({type(error).__name__}: {error})"
                ) from error
            if twice:
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


def _shown(value: Any) -> Any:
    """Prepares a value for JSON, with four digits of floats and without what is None."""
    if isinstance(value, dict):
        return {name: _shown(part) for name, part in value.items() if part is not None}
    if isinstance(value, tuple):
        return [_shown(part) for part in value]
    return round(value, 4) if isinstance(value, float) else value


def _utterance(record: dict[str, Any]) -> UtteranceKeywords:
    keywords = []
    for keyword in record.pop("keywords"):
        keyword.pop("neighbours", None)  # which version 0.1.0 wrote
        keywords.append(Keyword(**{"top": (keyword["token_id"],), **_with_tuples(keyword)}))
    known = {"utterance": record.pop("utt"), "caption": None, "caption_ids": None}
    return UtteranceKeywords(**{**known, **_with_tuples(record), "keywords": tuple(keywords)})


def _with_tuples(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(v) if isinstance(v, list) else v for name, v in record.items()}
