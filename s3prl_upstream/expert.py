"""The upstreams: all hidden states of the speech encoder, with and without the attention block's.

It does not import s3prl. The classes meet the contract of s3prl's runner, ``s3prl.nn`` and ESPnet's
``s3prl`` front end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from espnet_plugin.model.blank import choose_blanks
from espnet_plugin.model.keywords import Keywords, merge_repeats
from espnet_plugin.model.output import SpeechOutput
from espnet_plugin.pretrained.names import resolve_model
from espnet_plugin.pretrained.storage import load_speechclip
from espnet_plugin.pretrained.stored_model import EXPECTED
from espnet_plugin.teachers.speech_encoder import SpeechStates
from espnet_plugin.utils.constants import SAMPLING_RATE
from espnet_plugin.utils.samples import float_samples
from espnet_plugin.utils.small_files import read_yaml

OUTPUTS = ("parallel", "cascaded", "keywords")
TRAINED = 2**31  # updates after which every schedule of the model has ended


def shortest_utterance(receptive_field: int, stride: int) -> int:
    """Number of samples to which shorter utterances are padded with zeros.

    s3prl.nn expects ceil(samples / stride) frames and refuses half of that or less. An encoder
    without padding gives up to d = ceil((receptive_field - 1) / stride) fewer. So d + 1 frames are
    the fewest that always pass: 1040 samples for the usual 400 and 320.
    """
    missing = -(-(receptive_field - 1) // stride)
    return receptive_field + missing * stride


def continue_with_last_frame(states: Tensor, frames: Tensor, wanted: Tensor) -> Tensor:
    """Repeats the last frame of each utterance behind it.

    Changes ``states`` itself when they have room and gradients are off, to save the memory of a
    copy.

    Args:
        states: States of the frames, (batch, frames, dim).
        frames: Number of frames of each utterance, (batch,).
        wanted: Number of frames of each utterance with the copies, (batch,).

    Returns:
        (batch, the longest of frames and wanted, dim).
    """
    room = int(wanted.max()) - states.size(1)
    if room > 0:
        states = F.pad(states, (0, 0, 0, room))
    places = torch.arange(states.size(1), device=states.device)  # (frames,)
    missing = (places >= frames[:, None]) & (places < wanted[:, None])  # (batch, frames)
    rows, columns = missing.nonzero(as_tuple=True)
    put = states.index_put if torch.is_grad_enabled() else states.index_put_
    return put((rows, columns), states[rows, frames[rows] - 1])


class UpstreamExpert(nn.Module):
    """SpeechCLIP(+) as an upstream.

    The hidden states are the speech encoder's: the input of its first layer and each layer's
    output. A pre-norm encoder's last one precedes the final layer norm, as in the model itself. The
    attention block's layer outputs at the frames follow: 12 + 1 + 1 states for base, 24 + 1 + 1 for
    large. By s3prl's count an utterance has samples / stride frames, rounded up, which is one or
    two more than the encoder gives. So this class repeats the last frame of every utterance up to
    that number. Later frames are zero. An utterance has the same states alone and in any batch.

    In training mode it lists the keywords of evaluation. A model trained with ``hard: false``, such
    as hybrid+ annealed, then embeds each as a mixture of sub-words, by the softmax of cosines. If
    its segments can be blank, ``cascaded_embedding`` is of all segments. Each is the mean of the
    sub-words that it can be, and its weight is the probability that it is a keyword of its own, so
    gradients reach the choice. They reach the waveform even if nothing is trainable.

    Args:
        ckpt: A model's folder or its ``model.safetensors``, an ESPnet experiment or its checkpoint,
            or the name of a released model or of a repository on the Hugging Face hub.
        model_config: YAML file with any of the options below, for s3prl's ``-g``.
        refresh: Whether to download a hub model again.
        trainable: What gets gradients: nothing (False), the speech encoder and the attention block
            (True), or only this block ("block"). The encoder always stays in evaluation mode.
        outputs: More outputs of each utterance: "parallel" and "cascaded" embeddings, "keywords".
            CLIP's text tower is loaded for "cascaded" only, its image tower never.
        trust_remote_code: Whether you trust the model's author, see ``load_speechclip``.

    Raises:
        FileNotFoundError: If there is no such model or configuration file.
        ValueError: If ``ckpt`` is missing or holds no model, an option has an unknown value, or the
            architecture has no such output.
    """

    hub_name = "speechclip_plus"

    def __init__(
        self,
        ckpt: str | Path | None = None,
        model_config: str | Path | None = None,
        refresh: bool = False,
        *,
        trainable: bool | str = False,
        outputs: Sequence[str] = (),
        trust_remote_code: bool = False,
    ) -> None:
        super().__init__()
        if ckpt is None or not str(ckpt):
            raise ValueError(
                f"{self.hub_name} needs a model (-k in s3prl, path_or_url in ESPnet): {EXPECTED}"
            )
        if model_config is not None:
            options = _read_options(Path(model_config))
            trainable = options.get("trainable", trainable)
            outputs = options.get("outputs") or outputs
        self.outputs = _check_outputs(outputs)
        self.model = load_speechclip(
            resolve_model(ckpt, refresh=refresh),
            image_tower=False,
            text_tower="cascaded" in self.outputs,
            trust_remote_code=trust_remote_code,
        )
        self._check_model(ckpt)
        encoder = self.model.speech_encoder
        self.min_samples = shortest_utterance(encoder.min_samples, encoder.stride)
        self.set_trainable(trainable)

    def set_trainable(self, trainable: bool | str) -> None:
        """Sets what gets gradients, by one of the values that the class lists."""
        if not isinstance(trainable, bool) and trainable != "block":
            raise ValueError(f"trainable must be false, true or block, got {trainable!r}")
        self.trainable = trainable
        self.model.requires_grad_(False)
        if trainable is True:
            self.model.speech_encoder.requires_grad_(True)
        if trainable:
            for name, parameter in self.model.named_parameters():
                parameter.requires_grad_(parameter.requires_grad or self._is_used(name))
        self.train(self.training)

    def train(self, mode: bool = True) -> UpstreamExpert:
        """Sets training mode for what is trained: the attention block, whose dropout it switches
        on, and the quantiser, which then passes gradients through its choice."""
        super().train(mode)
        self.model.eval()
        if self.trainable:
            self.model.attention.train(mode)
            if self.model.keyword_branch is not None:
                self.model.keyword_branch.quantizer.train(mode)
        return self

    def get_downsample_rates(self, key: str = "hidden_states") -> int:
        """Number of samples per frame of every output."""
        return int(self.model.speech_encoder.stride)

    def forward(self, wavs: Sequence[Tensor]) -> dict[str, Any]:
        """Encodes utterances.

        Args:
            wavs: Mono samples at 16 kHz, floating point in [-1, 1] or 8 to 32-bit integers,
                (samples,) each. An utterance shorter than ``min_samples`` (1040 with HuBERT) is
                padded with zeros to that length.

        Returns:
            ``hidden_states``: tuple of (batch, frames, dim); ``hidden_state_<i>`` each of them;
            ``last_hidden_state``: the attention block's output; ``frame_lengths``: frames without
            the repeated ones, (batch,).
            On request: ``parallel`` and ``cascaded``, the utterance's embedding repeated at each
            frame, (batch, frames, embedding_dim), for s3prl's ``-s``; ``parallel_embedding`` and
            ``cascaded_embedding``, (batch, embedding_dim); ``keywords``, sub-words of each
            utterance as people write them; ``keyword_embeddings`` of these, (batch, slots,
            token_dim); ``keyword_lengths``, (batch,).

        Raises:
            TypeError: If the samples have another type, or ``wavs`` is not a list.
            ValueError: If the list is empty, or an utterance is empty, not one-dimensional or not
                finite.
        """
        states = self._encode(wavs)
        if self.outputs:
            output = self.model(states, step=TRAINED)
            block_states = output.states
        else:
            output, block_states = None, self.model.block_states(states)
        hidden_states = self._continued(states, wavs, block_states)
        result: dict[str, Any] = {
            "hidden_states": hidden_states,
            "last_hidden_state": hidden_states[-1],
            "frame_lengths": states.lengths,
        }
        result |= {f"hidden_state_{i}": state for i, state in enumerate(hidden_states)}
        if output is not None:
            frames = hidden_states[-1].size(1)
            result |= self._utterance_outputs(output, states, frames=frames)
        return result

    def _encode(self, wavs: Sequence[Tensor]) -> SpeechStates:
        """The encoder's states of utterances, each of at least ``min_samples``."""
        if not isinstance(wavs, (list, tuple)):
            raise TypeError(
                f"an upstream takes a list of utterances, not {type(wavs).__name__}; put a single "
                "utterance into a list"
            )
        if not wavs:
            raise ValueError("an empty list: give at least one utterance")
        weights = self.model.layer_weighting.weights
        tensors = []
        for number, wav in enumerate(wavs):
            try:
                tensors.append(wav := float_samples(torch.as_tensor(wav)))
            except TypeError as error:
                raise TypeError(f"utterance {number}: {error}") from error
            if wav.dim() != 1:
                raise ValueError(
                    f"utterance {number} must be mono, (samples,), not {tuple(wav.shape)}"
                )
            if not len(wav):
                raise ValueError(f"utterance {number} has no samples: remove it from the data")
        lengths = torch.tensor([len(wav) for wav in tensors], device=weights.device)
        tensors = [wav.to(device=weights.device, dtype=weights.dtype) for wav in tensors]
        speech = pad_sequence(tensors, batch_first=True)  # (batch, samples)
        finite = speech.isfinite().all(dim=1)
        if not finite.all():
            number = int(finite.logical_not().nonzero()[0])
            raise ValueError(f"utterance {number} has NaN or infinite samples")
        speech = F.pad(speech, (0, max(0, self.min_samples - speech.size(1))))
        return self.model.speech_encoder.encode(speech, lengths.clamp(min=self.min_samples))

    def _continued(
        self, states: SpeechStates, wavs: Sequence[Tensor], more: Sequence[Tensor] = ()
    ) -> tuple[Tensor, ...]:
        """The encoder's states and ``more``, with as many frames as s3prl.nn counts."""
        samples = torch.tensor([len(wav) for wav in wavs], device=states.lengths.device)
        counted = -(-samples // self.get_downsample_rates())
        return tuple(
            continue_with_last_frame(state, states.lengths, counted)
            for state in (*states.hidden_states.unbind(1), *more)
        )

    def _utterance_outputs(
        self, output: SpeechOutput, states: SpeechStates, *, frames: int
    ) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for name in ("parallel", "cascaded"):
            if name in self.outputs:
                embedding = getattr(output, name)  # (batch, embedding_dim)
                result[f"{name}_embedding"] = embedding
                result[name] = embedding[:, None].expand(-1, frames, -1)
        if "keywords" in self.outputs:
            keywords = self._listed(output.keywords, states)
            rows = keywords.quantized.rows.tolist()
            ids = self.model.keyword_branch.vocabulary.ids
            result["keywords"] = [
                tuple(self.model.clip.text_of([ids[row]]) for row in utterance[:number])
                for utterance, number in zip(rows, keywords.lengths.tolist(), strict=True)
            ]
            result["keyword_embeddings"] = keywords.quantized.embeddings
            result["keyword_lengths"] = keywords.lengths
        return result

    def _listed(self, keywords: Keywords, states: SpeechStates) -> Keywords:
        """The keywords that inference lists; in training, segments are only likely to be blank."""
        if keywords.reading is None:
            return keywords
        mixtures = keywords.quantized.probabilities @ self.model.keyword_branch.table
        quantized = replace(keywords.quantized, embeddings=mixtures)
        blank = choose_blanks(1 - keywords.reading.said, keywords.lengths)
        return merge_repeats(
            replace(keywords, quantized=quantized),
            blank,
            [states],
            recurrence=self.model.keyword_branch.recurrence,
        )

    def _is_used(self, name: str) -> bool:
        """Whether the outputs depend on a parameter of the trained part."""
        module = name.split(".")[0]
        if module in ("layer_weighting", "attention", "parallel_query"):
            return True
        if name == "keyword_branch.extractor.queries":
            return True
        if module == "parallel_projection":
            return "parallel" in self.outputs
        if name.startswith("keyword_branch.blank."):
            return "cascaded" in self.outputs
        return module == "keyword_branch" and bool({"keywords", "cascaded"} & set(self.outputs))

    def _check_model(self, ckpt: str | Path | None) -> None:
        rate = self.model.speech_encoder.sampling_rate
        if rate != SAMPLING_RATE:
            raise ValueError(
                f"{ckpt}: its speech encoder needs {rate} Hz; s3prl's speech is 16 kHz"
            )
        if "parallel" in self.outputs and self.model.parallel_projection is None:
            raise ValueError(f"{ckpt}: outputs: this architecture has no parallel branch")
        if {"keywords", "cascaded"} & set(self.outputs) and self.model.keyword_branch is None:
            raise ValueError(f"{ckpt}: outputs: this architecture has no keywords")


class SpeechEncoderExpert(UpstreamExpert):
    """The speech encoder of a SpeechCLIP(+) model as an upstream, without the trained part.

    Its hidden states are those of :class:`UpstreamExpert` but for the attention block's, so a
    comparison of the two shows what the trained part adds.
    """

    hub_name = "speechclip_plus_encoder"

    def set_trainable(self, trainable: bool | str) -> None:
        """Sets what gets gradients, by one of UpstreamExpert's values but "block"."""
        if trainable == "block":
            raise ValueError(
                f"{self.hub_name}: trainable: block would train nothing, because no output is the "
                "attention block's; use true for the encoder, or speechclip_plus for the block"
            )
        super().set_trainable(trainable)

    def forward(self, wavs: Sequence[Tensor]) -> dict[str, Any]:
        """``hidden_states`` and ``last_hidden_state`` of ``wavs``, as UpstreamExpert gives them."""
        states = self._continued(self._encode(wavs), wavs)
        return {"hidden_states": states, "last_hidden_state": states[-1]}


def _check_outputs(outputs: Sequence[str]) -> tuple[str, ...]:
    names = (outputs,) if isinstance(outputs, str) else tuple(outputs)
    unknown = [name for name in names if name not in OUTPUTS]
    if unknown:
        raise ValueError(f"outputs: {unknown[0]!r} is unknown; choose from {', '.join(OUTPUTS)}")
    return names


def _read_options(path: Path) -> dict[str, Any]:
    """The options in s3prl's ``-g`` file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; it is YAML with trainable and outputs")
    options = read_yaml(path) or {}
    if not isinstance(options, dict) or set(options) - {"trainable", "outputs"}:
        raise ValueError(f"{path}: expected a mapping with any of trainable, outputs")
    return options
