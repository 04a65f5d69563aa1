"""Discovered units, the targets of masked prediction: k-means over spectra or hidden states."""

from __future__ import annotations

import torch

FRAME_STRIDE = 320
RECEPTIVE_FIELD = 880
MEL_RANGE = (80.0, 7600.0)  # Hz
_WINDOW, _HOP, _FFT, _MELS = 400, 160, 512, 40


def frame_count(samples: torch.Tensor) -> torch.Tensor:
    """Return the number of encoder frames of waveforms of that many samples."""
    return (samples - RECEPTIVE_FIELD) // FRAME_STRIDE + 1


def spectra(speech: torch.Tensor, lengths: torch.Tensor) -> list[torch.Tensor]:
    """Return log-mel frames, each normalised over its utterance's own frames.

    Args:
        speech: Waveforms, (batch, samples).
        lengths: Number of samples of each, (batch,).

    Returns:
        For each utterance (frames, 4 · mels): the four 10 ms steps that an encoder frame sees.
    """
    from transformers.audio_utils import mel_filter_bank

    windows = speech.unfold(1, _WINDOW, _HOP) * torch.hann_window(_WINDOW)
    power = torch.fft.rfft(windows, n=_FFT).abs().square()  # (batch, steps, bins)
    bank = mel_filter_bank(_FFT // 2 + 1, _MELS, *MEL_RANGE, 16000, mel_scale="kaldi")
    log_mel = (power @ torch.from_numpy(bank).float() + 1e-3).log()  # (batch, steps, mels)
    result = []
    for steps, frames in zip(log_mel, frame_count(lengths).tolist(), strict=True):
        own = steps[: 2 * frames + 2]
        own = (own - own.mean(0)) / (own.std(0) + 1e-3)
        result.append(own.unfold(0, 4, 2).transpose(1, 2).reshape(frames, 4 * _MELS))
    return result


def with_context(frames: torch.Tensor, reach: int, *, step: int = 1) -> torch.Tensor:
    """Stack each frame with its neighbours, (frames, dim) → (frames, (2 reach + 1) · dim)."""
    index = torch.arange(len(frames))[:, None] + step * torch.arange(-reach, reach + 1)
    return frames[index.clamp(0, len(frames) - 1)].flatten(1)


class UnitCodebook:
    """k-means in a space of principal components."""

    def __init__(
        self, features: torch.Tensor, units: int, *, seed: int, components: int = 48
    ) -> None:
        from sklearn.cluster import MiniBatchKMeans

        self._mean = features.mean(0)
        centred = features - self._mean
        _, vectors = torch.linalg.eigh(centred.T @ centred)
        self._basis = vectors[:, -min(components, vectors.shape[1]) :].contiguous()
        kmeans = MiniBatchKMeans(
            units, batch_size=4096, n_init=1, max_iter=20, random_state=seed
        ).fit((centred @ self._basis).numpy())
        self.centres = torch.from_numpy(kmeans.cluster_centers_).float()

    def assign(self, features: torch.Tensor) -> torch.Tensor:
        """Return the nearest unit of each row, (frames, dim) → (frames,)."""
        projected = (features - self._mean) @ self._basis
        scores = projected @ self.centres.T - 0.5 * self.centres.square().sum(1)
        return scores.argmax(1)
