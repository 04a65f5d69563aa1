from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch
from local.front_end.probing import (
    BareEncoder,
    Example,
    ProbeResult,
    collect,
    draw,
    layer_weights,
    probe,
)
from local.front_end.voices import Recording

from espnet_plugin.data.alignments import Word
from s3prl_upstream.expert import UpstreamExpert


def examples(number: int, *, seed: int) -> list[Example]:
    """State 0 holds the label in one dimension, state 1 nothing."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for index in range(number):
        features = torch.randn(2, 3, generator=generator)
        features[0, 1] = 10.0 * (index % 2) + 0.1 * features[0, 1]
        made.append((features, ("no", "yes")[index % 2]))
    return made


def test_probe_reads_what_a_state_holds() -> None:
    unknown = (torch.zeros(2, 3), "unseen")
    result = probe(examples(200, seed=0), [*examples(100, seed=1), unknown])
    assert result.accuracy[0] == 100
    assert 30 < result.accuracy[1] < 70
    assert (result.chance, result.classes, result.examples) == (50, 2, 100)
    with pytest.raises(ValueError, match="no label of the test examples"):
        probe(examples(4, seed=0), [unknown])


class CountingExpert:
    """Two states: frame number, and its double."""

    def get_downsample_rates(self) -> int:
        return 1600  # ten frames a second

    def __call__(self, wavs: list[torch.Tensor]) -> dict:
        lengths = torch.tensor([len(wav) // 1600 for wav in wavs])
        frames = torch.arange(float(lengths.max())).expand(len(wavs), -1)[..., None]
        return {"hidden_states": (frames, 2 * frames), "frame_lengths": lengths}


def test_means_over_words_phones_and_utterances(tmp_path: Path) -> None:
    import soundfile

    path = tmp_path / "a.wav"
    soundfile.write(path, torch.zeros(16000).numpy(), 16000)
    words = (Word("red", 0.0, 0.3), Word("unheard", 0.3, 1.0))
    found = collect(CountingExpert(), [Recording("train_0_0", "me", words, path)])
    ((features, speaker),) = found["speaker"]
    assert (features.flatten().tolist(), speaker) == ([4.5, 9.0], "me")
    assert [(f[0].item(), label) for f, label in found["word"]] == [(1.0, "red"), (6.0, "unheard")]
    assert [(f[0].item(), label) for f, label in found["phone"]] == [
        (0.0, "R"), (1.0, "EH"), (2.0, "D")
    ]  # fmt: skip


def test_a_bare_encoder_has_the_states_under_the_trained_block(model_dir: Path) -> None:
    bare, expert = BareEncoder(str(model_dir / "speech_encoder")), UpstreamExpert(model_dir)
    wavs = [torch.sin(torch.arange(float(samples)) * 0.1) for samples in (4000, 2500)]
    found, expected = bare(wavs), expert(wavs)
    assert bare.get_downsample_rates() == expert.get_downsample_rates()
    assert found["frame_lengths"].tolist() == expected["frame_lengths"].tolist()
    for one, other in zip(found["hidden_states"], expected["hidden_states"][:-1], strict=True):
        for row, frames in enumerate(found["frame_lengths"].tolist()):
            assert torch.equal(one[row, :frames], other[row, :frames])


def test_layer_weights_and_figure(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    state = {"Featurizer": {"weights": torch.zeros(4)}, "Args": argparse.Namespace(a=1)}
    torch.save(state, tmp_path / "dev-best.ckpt")
    weights = layer_weights(tmp_path / "dev-best.ckpt")
    assert weights == [0.25] * 4
    result = ProbeResult([10.0, 20.0, 30.0, 40.0], 5.0, 3, 9)
    states = ["0", "1", "2", "block"]
    draw(tmp_path / "probing.png", states, {"word": result}, {"IC": weights})
    draw(tmp_path / "alone.png", states, {"word": result}, {})
    assert (tmp_path / "probing.png").stat().st_size > (tmp_path / "alone.png").stat().st_size > 0
