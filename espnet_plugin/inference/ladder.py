"""Embeddings of CLIP's text tower for each step of the ladder (``evaluation/ladder.py``)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from espnet_plugin.inference.clip import embed_tokens
from espnet_plugin.inference.utterance import read_utterance
from espnet_plugin.speechclip.keyword_extractor import CifKeywordExtractor, Slots
from espnet_plugin.speechclip.model import SpeechCLIPModel, SpeechOutput
from espnet_plugin.speechclip.speech_encoder import SpeechStates
from espnet_plugin.utils.progress import progress

Ids = tuple[int, ...]
Spans = Sequence[tuple[float, float]]


class Reading(NamedTuple):
    """Tokens of one utterance at one step, and their embedding.

    Attributes:
        ids: Tokens; of keywords before the quantiser the nearest ones.
        embedding: L2-normalised float32, (dim,).
    """

    ids: Ids
    embedding: np.ndarray


class SpanKeywordExtractor(nn.Module):
    """Slots from given spans in place of CIF's; CIF still weighs the frames inside each.

    Args:
        own: The model's own.
        spans: First frame and one past the last frame of each slot, of a batch of one utterance.
    """

    num_queries = 0
    num_slots = None

    def __init__(self, own: CifKeywordExtractor, spans: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.own = own
        self.spans = spans

    def forward(
        self,
        queries: Tensor,
        frames: Tensor,
        lengths: Tensor,
        *,
        target_lengths: Tensor | None = None,
        step: int | None = None,
    ) -> Slots:
        """Weighted sums of the frames, (1, spans, dim), of weights that sum up to the threshold."""
        inside = frames.new_zeros(1, len(self.spans), frames.size(1))
        for slot, (start, end) in enumerate(self.spans):
            inside[0, slot, start:end] = 1.0
        weights = inside * self.own.cif(frames, lengths)[:, None]  # (1, spans, frames)
        weights = self.own.threshold * weights / weights.sum(dim=2, keepdim=True).clamp(min=1e-8)
        return Slots(weights @ frames, lengths.new_tensor([len(self.spans)]))


def read_steps(
    model: SpeechCLIPModel,
    texts: Mapping[str, Sequence[Ids]],
    *,
    recordings: Sequence[str] = (),
    spans: Mapping[str, Sequence[Spans | None]],
) -> tuple[dict[str, Sequence[Ids]], dict[str, np.ndarray]]:
    """Reads all steps of a set's ladder.

    Args:
        model: As for :func:`read_speech`, where there are recordings.
        texts: Step → tokens of each utterance.
        recordings: File of each utterance; without them, steps that need speech are left out.
        spans: Steps of given spans, see :func:`read_speech`.

    Returns:
        Step → the tokens of each utterance; step → embeddings (utterances, dim).
    """
    ids = dict(texts)
    embeddings = {
        step: embed_tokens(model.clip, tokens, description=step) for step, tokens in texts.items()
    }
    if recordings:
        read = progress(
            read_speech(model, recordings, spans), description="speech", total=len(recordings)
        )
        readings = list(read)
        for step in readings[0]:
            ids[step] = [reading[step].ids for reading in readings]
            embeddings[step] = np.stack([reading[step].embedding for reading in readings])
    return ids, embeddings


@torch.no_grad()
def read_speech(
    model: SpeechCLIPModel, recordings: Iterable[str], spans: Mapping[str, Sequence[Spans | None]]
) -> Iterator[dict[str, Reading]]:
    """Embeds keywords before the quantiser (``soft``), and those of given spans.

    Args:
        model: With a cascaded branch; with a CIF extractor, where there are spans.
        recordings: Files.
        spans: Step → for each recording start and end of its keywords in seconds; None leaves them
            to the model.

    Yields:
        For each recording, the reading of each step.

    Raises:
        DataError: A recording cannot be used.
    """
    encoder, own = model.speech_encoder, model.keyword_extractor
    device = model.layer_weighting.weights.device
    for number, recording in enumerate(recordings):
        samples = read_utterance(recording, sampling_rate=None, wanted_rate=encoder.sampling_rate)
        speech = torch.as_tensor(samples, dtype=torch.float32, device=device)[None]
        states = encoder(speech, torch.tensor([speech.size(1)], device=device))
        as_segmented = model(states)
        keywords = as_segmented.keywords
        soft = model.clip.encode_soft_tokens(keywords.embeddings, keywords.lengths)
        found = {"soft": Reading(_ids(model, as_segmented), soft[0].cpu().numpy())}
        for step, cut in spans.items():
            heard = as_segmented
            if cut[number] is not None:
                frames = _frames(model, states, cut[number])
                try:
                    model.keyword_extractor = SpanKeywordExtractor(own, frames)
                    heard = model(states)
                finally:
                    model.keyword_extractor = own
            found[step] = Reading(_ids(model, heard), heard.cascaded[0].cpu().numpy())
        yield found


def _frames(model: SpeechCLIPModel, states: SpeechStates, spans: Spans) -> list[tuple[int, int]]:
    """Frames of spans, at least one each; cut to the length of CLIP's text tower."""
    seconds = model.speech_encoder.stride / model.speech_encoder.sampling_rate
    total = int(states.lengths[0])
    cut = []
    for start, end in spans[: model.clip.context_length - 2]:
        first = min(int(start / seconds), total - 1)
        cut.append((first, max(first + 1, min(math.ceil(end / seconds), total))))
    return cut


def _ids(model: SpeechCLIPModel, heard: SpeechOutput) -> Ids:
    number = int(heard.keywords.lengths[0])
    return tuple(model.vocabulary.ids[row] for row in heard.keywords.quantized.rows[0, :number])
