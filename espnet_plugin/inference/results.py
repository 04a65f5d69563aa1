"""What a trained model found in each utterance of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from espnet_plugin.data.keyword_file import Keyword
from espnet_plugin.media.speech_activity import breaks
from espnet_plugin.model.model import SpeechCLIPModel
from espnet_plugin.model.output import SpeechOutput

NEAREST = 5


@dataclass(frozen=True)
class UtteranceResult:
    """Embeddings and keywords of one utterance.

    Attributes:
        parallel: Embedding by the parallel branch, L2-normalised float32, (dim,), or None.
        cascaded: Embedding of the keywords, in the same form, or None without that branch.
        keywords: Keywords in the order of the speech, or None without the cascaded branch.
        alphas: CIF's weight of each frame, (frames,), or None without CIF.
        fired: Frames in which a keyword was completed, or None without CIF.
        keywords_end: Seconds at which the keywords end before the speech does, because the model
            keeps at most ``max_keywords`` segments; None if they cover all of it.
    """

    parallel: np.ndarray | None
    cascaded: np.ndarray | None
    keywords: tuple[Keyword, ...] | None
    alphas: np.ndarray | None
    fired: tuple[int, ...] | None
    keywords_end: float | None


def frame_seconds(model: SpeechCLIPModel) -> float:
    """Seconds from one frame to the next."""
    return model.speech_encoder.stride / model.speech_encoder.sampling_rate


def utterance_results(
    model: SpeechCLIPModel, output: SpeechOutput, speech: Sequence[np.ndarray]
) -> list[UtteranceResult]:
    """Splits the output of a batch into its utterances.

    Segments of CIF lie side by side. A keyword's times are those of its segment without the silence
    at its ends, see :func:`espnet_plugin.media.speech_activity.breaks`.

    Args:
        model: The model that made the output.
        output: The model's output for a batch.
        speech: Samples of each utterance, (samples,).
    """
    keywords, ends = _keywords(model, output), keyword_ends(model, output)
    rate = model.speech_encoder.sampling_rate
    cif = output.keywords.cif if output.keywords is not None else None
    parallel, cascaded = _array(output.parallel), _array(output.cascaded)
    alphas, fired = (_array(cif.alphas), _array(cif.fired)) if cif is not None else (None, None)
    return [
        UtteranceResult(
            parallel=parallel[row] if parallel is not None else None,
            cascaded=cascaded[row] if cascaded is not None else None,
            keywords=_sounding(keywords[row], speech[row], rate) if keywords is not None else None,
            alphas=alphas[row, :frames] if alphas is not None else None,
            fired=tuple(np.flatnonzero(fired[row, :frames]).tolist())
            if fired is not None
            else None,
            keywords_end=ends[row],
        )
        for row, frames in enumerate(output.lengths.tolist())
    ]


def keyword_ends(model: SpeechCLIPModel, output: SpeechOutput) -> list[float | None]:
    """``UtteranceResult.keywords_end`` of each utterance."""
    found = output.keywords
    if found is None or found.cif is None:
        return [None] * len(output.lengths)
    rows = zip(
        found.cif.ends.tolist(), found.lengths.tolist(), found.cif.dropped.tolist(), strict=True
    )
    return [ends[number - 1] * frame_seconds(model) if cut else None for ends, number, cut in rows]


def _keywords(model: SpeechCLIPModel, output: SpeechOutput) -> list[tuple[Keyword, ...]] | None:
    keywords, branch = output.keywords, model.keyword_branch
    if keywords is None or branch is None:
        return None
    ids = torch.tensor(branch.vocabulary.ids)
    similarities = keywords.quantized.similarities  # (batch, slots, rows)
    allowed = len(ids) - len(branch.vocabulary.forbidden)
    # the row that the text tower read comes first, however the cosines are rounded
    chosen = keywords.quantized.rows  # (batch, slots)
    ranked = similarities.scatter(2, chosen[..., None], torch.inf)
    best = ranked.topk(min(NEAREST, allowed), dim=-1).indices
    nearest = ids[best.cpu()].tolist()  # (batch, slots, nearest)
    scores = similarities.gather(2, best).tolist()  # (batch, slots, nearest)
    seconds, cif = frame_seconds(model), keywords.cif
    starts = cif.starts.tolist() if cif is not None else None
    ends = cif.ends.tolist() if cif is not None else None
    return [
        tuple(
            Keyword(
                token_id=nearest[row][slot][0],
                token=model.clip.token_text(nearest[row][slot][0]),
                score=scores[row][slot][0],
                top=tuple(nearest[row][slot]),
                top_scores=tuple(scores[row][slot]),
                start=starts[row][slot] * seconds if starts else None,
                end=ends[row][slot] * seconds if ends else None,
            )
            for slot in range(number)
        )
        for row, number in enumerate(keywords.lengths.tolist())
    ]


def _sounding(keywords: Sequence[Keyword], samples: np.ndarray, rate: int) -> tuple[Keyword, ...]:
    """The same keywords without breaks at their ends; one within a break stays as it is."""
    found, silences = [], breaks(samples, rate)
    for keyword in keywords:
        start, end = keyword.start, keyword.end
        if start is not None and end is not None:
            start = next((last for first, last in silences if first <= start < last), start)
            end = next((first for first, last in silences if first < end <= last), end)
            if start < end:
                keyword = replace(keyword, start=start, end=end)
        found.append(keyword)
    return tuple(found)


def _array(values: Tensor | None) -> np.ndarray | None:
    return None if values is None else values.float().cpu().numpy()
