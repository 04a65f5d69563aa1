"""A trained model for one utterance at a time or a padded batch."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from espnet_plugin.data.keyword_file import Keyword
from espnet_plugin.inference.utterance import (
    MAX_SECONDS,
    Utterance,
    read_utterance,
    utterance_name,
)
from espnet_plugin.pretrained.storage import load_speechclip
from espnet_plugin.speechclip.backends.waveform import float_samples
from espnet_plugin.speechclip.model import SpeechCLIPModel, SpeechOutput
from espnet_plugin.speechclip.quantizer import cosine_similarities
from espnet_plugin.speechclip.speech_encoder import SpeechStates, batch_states
from espnet_plugin.utils.device import torch_device

NEAREST = 5
PRECISIONS = ("float32", "float64", "float16", "bfloat16")


@dataclass(frozen=True)
class UtteranceResult:
    """What the model makes of one utterance.

    Attributes:
        parallel: Embedding, L2-normalised float32, (dim,); None without that branch.
        cascaded: Embedding of the keywords, likewise.
        keywords: In the order of the speech; None without the cascaded branch.
        alphas: Segmentation weight of each frame, (frames,); None when nothing is segmented.
        fired: Frames in which a keyword was completed; None likewise.
        keywords_end: Seconds after which the speech is in no keyword, because it holds more
            segments than the model keeps; None where all of it was taken.
    """

    parallel: np.ndarray | None
    cascaded: np.ndarray | None
    keywords: tuple[Keyword, ...] | None
    alphas: np.ndarray | None
    fired: tuple[int, ...] | None
    keywords_end: float | None


class SpeechCLIPInference:
    """Loads a trained model and embeds speech.

    Example:
        >>> model = SpeechCLIPInference("exp/x/config.yaml", "exp/x/valid.recall_mean_at_1.ave.pth")
        >>> result = model("speech.wav")
        >>> [keyword.token for keyword in result.keywords]
        >>> speech, rate = soundfile.read("speech.wav")
        >>> result = model(speech, sampling_rate=rate)

    Args:
        speechclip_train_config: ``config.yaml`` of the experiment; beside the model by default.
        speechclip_model_file: A checkpoint of the experiment; by default the best by the first of
            its ``best_model_criterion``.
        device: Torch device.
        dtype: Precision of the computation, one of ``PRECISIONS``; with 16 bits the weights stay
            float32 and PyTorch's autocast decides, as in training.
        model: A model that is loaded already, instead of both files.
        max_seconds: Of longer speech only the beginning is heard, with a warning. Keywords may
            reach less far, see :attr:`keyword_seconds`.
        trust_remote_code: See :func:`load_speechclip`.
    """

    def __init__(
        self,
        speechclip_train_config: str | Path | None = None,
        speechclip_model_file: str | Path | None = None,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        model: SpeechCLIPModel | None = None,
        max_seconds: float = MAX_SECONDS,
        trust_remote_code: bool = False,
    ) -> None:
        self.device = torch_device(device)
        if model is None:
            if speechclip_model_file is None and speechclip_train_config is None:
                raise ValueError("give a model file, or a training configuration, or both")
            model = load_speechclip(
                speechclip_model_file or Path(speechclip_train_config).parent,
                config=speechclip_train_config,
                image_tower=False,
                trust_remote_code=trust_remote_code,
            )
        if model.speech_encoder is None:
            raise ValueError("The model has no speech encoder.")
        if dtype not in PRECISIONS:
            raise ValueError(f"dtype {dtype!r}: choose from {', '.join(PRECISIONS)}")
        half = dtype in ("float16", "bfloat16")
        self.dtype = torch.float32 if half else getattr(torch, dtype)
        self._autocast = partial(
            torch.autocast, torch.device(self.device).type, getattr(torch, dtype), enabled=half
        )
        self.max_seconds = max_seconds
        self.model = model.to(device=self.device, dtype=self.dtype).eval()

    @staticmethod
    def from_pretrained(
        model_tag: str, *, trust_remote_code: bool = False, **kwargs: Any
    ) -> SpeechCLIPInference:
        """Builds from a local model or a published one.

        Args:
            model_tag: Packed model (zip), exported model or experiment (directory); or the name of
                a released model, or ``owner/model`` on the Hugging Face hub.
            trust_remote_code: See :func:`load_speechclip`.
            **kwargs: Further constructor arguments.

        Raises:
            FileNotFoundError: If there is no such file or directory, nor such a repository.
            UntrustedModelError: If it names what may run code, and is not trusted.
            ValueError: If it holds no model.
        """
        model = load_speechclip(model_tag, image_tower=False, trust_remote_code=trust_remote_code)
        return SpeechCLIPInference(model=model, **kwargs)

    @property
    def stride_seconds(self) -> float:
        """Seconds per frame."""
        encoder = self.model.speech_encoder
        return encoder.stride / encoder.sampling_rate

    @property
    def keyword_seconds(self) -> float | None:
        """About how many seconds of a recording the keywords hear.

        As many segments as the model keeps, at the rate that it was trained for: ``max_keywords``
        x ``frames_per_keyword`` x seconds per frame. None where keywords hear all of it (``cls``),
        or their rate is that of the captions' sub-words.
        """
        reach = getattr(self.model.keyword_extractor, "reach", None)
        return None if reach is None else reach * self.stride_seconds

    def warn_of_the_rest(self, name: str, result: UtteranceResult) -> None:
        """Warns where the speech of an utterance after a certain time is in no keyword."""
        if result.keywords_end is None:
            return
        most = self.model.keyword_extractor.cif.max_keywords
        logging.warning(
            f"{name}: more than {most} segments, so its keywords end at {result.keywords_end:.1f} "
            "s: the speech after that is in no keyword and not in the cascaded embedding (the "
            "parallel one hears all of it); cut the recording"
        )

    @torch.no_grad()
    def __call__(self, speech: Utterance, *, sampling_rate: int | None = None) -> UtteranceResult:
        """Embeds one utterance.

        Args:
            speech: Mono samples (samples,), floating point in [-1, 1] or integers as recordings
                hold them; or an audio file, whose channels are averaged.
            sampling_rate: Of samples in Hz, which are resampled if the model hears another one;
                None: the model's. A file says its own.

        Raises:
            DataError: When a file cannot be used.
            TypeError: When ``speech`` is something else.
            ValueError: When samples are none, not mono, or not finite.
        """
        wanted = self.model.speech_encoder.sampling_rate
        samples = read_utterance(
            speech,
            sampling_rate=sampling_rate,
            wanted_rate=wanted,
            max_seconds=self.max_seconds,
        )
        waveform = torch.as_tensor(samples, dtype=self.dtype, device=self.device)[None]
        lengths = torch.tensor([len(samples)], device=self.device)
        result = self.results(self.encode(speech=waveform, speech_lengths=lengths))[0]
        self.warn_of_the_rest(utterance_name(speech), result)
        return result

    @torch.no_grad()
    def encode(self, **batch: Tensor) -> SpeechOutput:
        """Embeds a padded batch of waveforms or of stored hidden states.

        Args:
            **batch: ``speech`` and ``speech_lengths``, or stored hidden states, see
                :func:`batch_states`.
        """
        with self._autocast():
            return self.model(self._states(batch))

    def layer_weights(self) -> np.ndarray:
        """Learned weights of the speech encoder's hidden states, they sum to 1, (layers + 1,)."""
        return self.model.layer_weighting.weights.detach().softmax(dim=0).float().cpu().numpy()

    @torch.no_grad()
    def attention_map(self, **batch: Tensor) -> np.ndarray:
        """Where the queries of one utterance look, or its frames when there is no query.

        Args:
            **batch: As for :meth:`encode`, one utterance, which may be padded.

        Returns:
            Attention weights, (heads, queries, frames) or (heads, frames, frames).
        """
        with self._autocast():
            states = self._states(batch)
            weights = self.model.attention_map(states)[0].float().cpu().numpy()
        queries, frames = self.model.num_queries, int(states.lengths[0])
        rows = slice(0, queries) if queries else slice(0, frames)
        return weights[:, rows, queries : queries + frames]

    def results(self, output: SpeechOutput) -> list[UtteranceResult]:
        """Takes a batch's output apart, utterance by utterance."""
        keywords = self._keywords(output)
        cif = output.keywords.cif if output.keywords is not None else None
        alphas = cif.alphas.float().cpu().numpy() if cif is not None else None
        fired = cif.fired.cpu().numpy() if cif is not None else None
        dropped = cif.dropped.tolist() if cif is not None else [0] * len(output.lengths)
        parallel, cascaded = _array(output.parallel), _array(output.cascaded)
        results = []
        for row, frames in enumerate(output.lengths.tolist()):
            results.append(
                UtteranceResult(
                    parallel=parallel[row] if parallel is not None else None,
                    cascaded=cascaded[row] if cascaded is not None else None,
                    keywords=keywords[row] if keywords is not None else None,
                    alphas=alphas[row, :frames] if alphas is not None else None,
                    fired=tuple(np.flatnonzero(fired[row, :frames]).tolist())
                    if fired is not None
                    else None,
                    keywords_end=keywords[row][-1].end if dropped[row] else None,
                )
            )
        return results

    def _states(self, batch: dict[str, Tensor]) -> SpeechStates:
        if "speech" in batch:
            batch = {**batch, "speech": float_samples(batch["speech"]).to(self.dtype)}
        states = batch_states(self.model.speech_encoder, **batch)
        return SpeechStates(states.hidden_states.to(self.dtype), states.lengths)

    def _keywords(self, output: SpeechOutput) -> list[tuple[Keyword, ...]] | None:
        keywords = output.keywords
        if keywords is None:
            return None
        ids = torch.tensor(self.model.vocabulary.ids)
        similarities = keywords.quantized.similarities  # (batch, slots, rows)
        allowed = len(ids) - len(self.model.vocabulary.forbidden)
        # the row that the text tower read comes first, whatever rounding makes of the cosines
        chosen = keywords.quantized.rows  # (batch, slots)
        ranked = similarities.scatter(2, chosen[..., None], torch.inf)
        best = ranked.topk(min(NEAREST, allowed), dim=-1).indices
        nearest = ids[best.cpu()].tolist()  # (batch, slots, nearest)
        scores = similarities.gather(2, chosen[..., None])[..., 0].tolist()  # (batch, slots)
        table = self.model.token_table
        rows = cosine_similarities(table[chosen], table).topk(min(NEAREST, len(ids)), dim=-1)
        neighbours = ids[rows.indices.cpu()].tolist()  # (batch, slots, nearest)
        cif = keywords.cif
        starts = cif.starts.tolist() if cif is not None else None
        ends = cif.ends.tolist() if cif is not None else None
        heard = []
        for row, number in enumerate(keywords.lengths.tolist()):
            heard.append(
                tuple(
                    Keyword(
                        token_id=nearest[row][slot][0],
                        token=self.model.clip.token_text(nearest[row][slot][0]),
                        score=scores[row][slot],
                        top=tuple(nearest[row][slot]),
                        neighbours=tuple(neighbours[row][slot]),
                        start=starts[row][slot] * self.stride_seconds if starts else None,
                        end=ends[row][slot] * self.stride_seconds if ends else None,
                    )
                    for slot in range(number)
                )
            )
        return heard


def _array(embeddings: Tensor | None) -> np.ndarray | None:
    return embeddings.float().cpu().numpy() if embeddings is not None else None
