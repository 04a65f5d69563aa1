"""Any upstream of s3prl as a frozen speech encoder.

Upstreams differ in how they treat padding, and many let it leak. So utterances are run in groups
of equal length, without padding. An utterance has the same hidden states alone and in any batch.
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from espnet_plugin.utils.constants import SAMPLING_RATE
from espnet_plugin.utils.options import did_you_mean

# Tried in this order until the upstream gives a frame: 25 ms, more for a few upstreams.
SHORTEST_SAMPLES = (400, 800, 1600, 3200, 6400, 16000)


def upstream_hub() -> Any:
    """The module that holds s3prl's upstreams.

    Raises:
        ImportError: If s3prl cannot be imported; the message names what to install.
    """
    try:
        import s3prl.hub
    except (ImportError, OSError, AttributeError) as error:  # s3prl 0.4.18 breaks in all these ways
        raise ImportError(
            f"s3prl cannot be imported ({type(error).__name__}: {error}). Uninstall it and "
            "install the fork: pip install espnet-s3prl pandas (extra: s3prl)"
        ) from error
    return s3prl.hub


def upstream_entry(name: str) -> Callable[..., nn.Module]:
    """What builds an upstream, from ``s3prl.hub``.

    Raises:
        ImportError: If s3prl cannot be imported.
        ValueError: If there is no such upstream.
    """
    hub = upstream_hub()
    entry = getattr(hub, name, None)
    if not callable(entry):
        raise ValueError(
            f"s3prl has no upstream {name!r}{did_you_mean(name, hub.options())}. List the names "
            "with python -c 'import s3prl.hub; print(s3prl.hub.options())'"
        )
    return entry


def build_upstream(name: str, checkpoint: str | Path | None = None) -> nn.Module:
    """Builds an upstream in evaluation mode.

    Args:
        name: Name in ``s3prl.hub``, e.g. ``hubert_base``, ``fbank`` or ``hubert_local``.
        checkpoint: Weights file, for upstreams that take one (``hubert_local``).

    Raises:
        ValueError: If there is no such upstream, or it takes no checkpoint or needs one.
        FileNotFoundError: If checkpoint or weights are neither there nor can be downloaded.
        RuntimeError: If s3prl cannot build it for another reason.
    """
    entry = upstream_entry(name)
    parameters = inspect.signature(entry).parameters
    # the signature of hubert_local(*args, **kwargs) does not show its checkpoint
    needs_checkpoint = name.endswith(("_local", "_custom", "_url"))
    takes_checkpoint = needs_checkpoint or "ckpt" in parameters
    if checkpoint is None:
        if needs_checkpoint:
            raise ValueError(
                f"s3prl upstream {name!r} needs a file: set speech_encoder_conf.checkpoint"
            )
        options = {}
    else:
        if not takes_checkpoint:  # s3prl itself would ignore the file without a word
            raise ValueError(
                f"s3prl upstream {name!r} takes no checkpoint and would ignore {checkpoint}: use "
                "the entry of its family that ends in _local or _custom"
            )
        if not Path(checkpoint).exists():
            raise FileNotFoundError(
                f"speech_encoder_conf.checkpoint: there is no file {checkpoint}"
            )
        options = {"ckpt": str(checkpoint)}
    try:
        upstream = entry(**options)
    except (OSError, RuntimeError, ValueError, TypeError, AssertionError, KeyError) as error:
        url = getattr(getattr(error, "request", None), "url", None)  # requests' errors have it
        if url:
            raise FileNotFoundError(
                f"s3prl upstream {name!r}: {url} cannot be downloaded here. Fetch it elsewhere and "
                f"save it as {_cached_file(url)}"
            ) from error
        raise RuntimeError(
            f"s3prl upstream {name!r} could not be built"
            f"{'' if checkpoint is None else f' from {checkpoint}'} "
            f"({type(error).__name__}: {error}). If its weights cannot be downloaded here, give "
            "the file as speech_encoder_conf.checkpoint, with model the _local entry of its family"
        ) from error
    _keep_last_state_before_norm(upstream)
    _switch_off_layer_drop_and_masking(upstream)
    return upstream.eval()


def _cached_file(url: str) -> Path:
    """Where s3prl looks for a download before it fetches it."""
    from s3prl.util.download import _urls_to_filepaths

    return Path(_urls_to_filepaths(url, download=False))


def _keep_last_state_before_norm(upstream: nn.Module) -> None:
    """Takes the last state of pre-norm encoders before the encoder's final layer norm.

    The original SpeechCLIP+ and the huggingface source take it there. Learned layer weights then
    mean the same with all of them.
    """
    encoder: Any = getattr(getattr(upstream, "model", None), "encoder", None)
    if getattr(encoder, "layer_norm_first", False) and isinstance(
        getattr(encoder, "layer_norm", None), nn.LayerNorm
    ):
        encoder.layer_norm = nn.Identity()


def _switch_off_layer_drop_and_masking(upstream: nn.Module) -> None:
    """Keeps every layer and every frame in training mode too."""
    for module in upstream.modules():
        # the names of fairseq, torchaudio and transformers; experts have properties of these names
        holders: tuple[Any, ...] = (module, getattr(module, "config", None))
        for holder in holders:
            for name in ("layerdrop", "layer_drop"):
                if name in getattr(holder, "__dict__", ()):
                    setattr(holder, name, 0.0)
            if hasattr(holder, "apply_spec_augment"):
                holder.apply_spec_augment = False


class S3prlBackend(nn.Module):
    """An upstream of s3prl.

    Hidden states are the upstream's ``hidden_states``, for pre-norm transformers with the last
    one before the final layer norm; frame lengths are what the upstream returns. An utterance
    that is too short for one frame is continued with zeros.

    Args:
        model: Name in ``s3prl.hub``.
        checkpoint: Weights file, for ``*_local`` and ``*_custom`` upstreams.

    Raises:
        ImportError: If s3prl cannot be imported.
        ValueError: If the upstream's hidden states do not share one dimension.
    """

    sampling_rate = SAMPLING_RATE
    upstream: Any  # s3prl's

    def __init__(self, *, model: str, checkpoint: str | Path | None = None) -> None:
        super().__init__()
        self.name = model
        self.upstream = build_upstream(model, checkpoint)
        self.stride = int(self.upstream.get_downsample_rates("hidden_states"))
        self._frames_of: dict[int, int] = {}  # samples → frames, as the upstream has answered
        self.min_samples, states = self._probe()
        self.num_layers = len(states)
        self.dim = states[0].shape[-1]

    def train(self, mode: bool = True) -> S3prlBackend:
        """Training mode reaches all modules but norms with running statistics, which stay."""
        super().train(mode)
        for module in self.modules():
            if hasattr(module, "running_mean"):
                module.eval()
        return self

    def wants_normalized_waveforms(self) -> bool:
        """False, because an upstream does itself what its model needs."""
        return False

    def frame_lengths(self, sample_lengths: Tensor) -> Tensor:
        """The upstream itself is asked (with silence) about each length it has not seen yet."""
        frames = []
        for samples in sample_lengths.clamp(min=self.min_samples).tolist():
            if samples not in self._frames_of:
                device = next((p.device for p in self.parameters()), sample_lengths.device)
                with torch.no_grad():
                    self._run(torch.zeros(1, samples, device=device))
            frames.append(self._frames_of[samples])
        return torch.tensor(frames, device=sample_lengths.device)

    def forward(self, speech: Tensor, sample_lengths: Tensor, ends: Sequence[int]) -> Tensor:
        """Encodes waveforms as ``SpeechBackend`` says."""
        rows_of_length = defaultdict(list)
        for row, end in enumerate(ends):
            rows_of_length[end].append(row)
        hidden: Tensor | None = None
        for end in sorted(rows_of_length, reverse=True):  # the longest decides the frames
            rows = rows_of_length[end]
            # A lone group of all rows needs no copy of the waveforms and of the states.
            everything = len(rows) == len(ends)
            group = torch.stack(self._run(speech if everything else speech[rows, :end]), dim=1)
            if everything:
                return group
            if hidden is None:
                hidden = group.new_zeros(len(ends), *group.shape[1:])
            hidden[rows, :, : group.shape[2]] = group
        assert hidden is not None
        return hidden

    def _run(self, speech: Tensor) -> list[Tensor]:
        """Hidden states, each (batch, frames, dim), of waveforms of equal length."""
        output = self.upstream(list(speech.unbind(0)))
        hidden = output["hidden_states"]
        states = [hidden] if isinstance(hidden, Tensor) else list(hidden)
        dims = {state.shape[-1] for state in states}
        if len(dims) > 1:
            raise ValueError(
                f"s3prl upstream {self.name!r} gives hidden states of different dimensions "
                f"{sorted(dims)}: they cannot be summed"
            )
        frames = min(state.shape[1] for state in states)
        self._frames_of[speech.shape[1]] = frames
        return [state[:, :frames] for state in states]

    def _probe(self) -> tuple[int, list[Tensor]]:
        """The shortest of ``SHORTEST_SAMPLES`` that gives finite frames, and its hidden states.

        fbank, for one, divides by the standard deviation over frames: one frame is not enough.
        """
        failure: Exception | None = None
        for samples in SHORTEST_SAMPLES:
            try:
                with torch.no_grad():
                    states = self._run(torch.zeros(1, samples))
            except (RuntimeError, AssertionError, IndexError) as error:
                failure = error
                continue
            if states and all(state.numel() and state.isfinite().all() for state in states):
                return samples, states
        raise ValueError(
            f"s3prl upstream {self.name!r} gives no hidden states for one second of silence: "
            f"{failure}"
        )
