from __future__ import annotations

import torch

from benchmarks.data_scale import exponent, table
from benchmarks.full_size_step import (
    encode_in_parts,
    gpu_estimates,
    make_batch,
    report,
)
from espnet_plugin.speechclip.speech_encoder import FrozenSpeechEncoder
from tests.tiny import tiny_hubert_dir


def test_an_encoder_in_parts_gives_the_same_states(tmp_path) -> None:
    model = str(tiny_hubert_dir(tmp_path))
    encoder = FrozenSpeechEncoder("huggingface", model=model, normalize_waveform=True)
    batch = make_batch(5, 8)
    speech, lengths = batch["speech"], batch["speech_lengths"]
    whole = encoder(speech, lengths)
    times = encode_in_parts(encoder, 2)
    parts = encoder(speech, lengths)
    assert torch.equal(whole.lengths, parts.lengths)
    torch.testing.assert_close(whole.hidden_states, parts.hidden_states, atol=1e-4, rtol=1e-4)
    assert len(times) == 1


def test_estimates_follow_the_arithmetic() -> None:
    # 125 TFLOP/s at a quarter of the peak: 31.25 a second
    estimate = gpu_estimates(31.25, 2)["V100"]
    assert estimate["seconds_per_step"] == 1.0
    assert estimate["hours_for_50000_updates"] == 2 * 50000 / 3600


def test_the_report_labels_estimates() -> None:
    names = "accum_grad audio_seconds batch_size parameters_million trained_million seconds"
    names += " encoder_seconds threads memory_peak_gib memory_built_gib tera_flop"
    names += " config_batch_size encoder_batch encoder_tera_flop loss grad_norm"
    result = dict.fromkeys(names.split(), 1) | {"config": "x", "estimate_gpu": gpu_estimates(1, 1)}
    assert "ESTIMATES for a GPU, derived from the arithmetic and not measured" in report(result)


def test_growth_of_time_and_memory() -> None:
    assert abs(exponent([10, 100], [1.0, 10.0]) - 1) < 1e-9
    assert abs(exponent([10, 100], [5.0, 5.0])) < 1e-9
    stage = {"seconds": 2.0, "cpu_seconds": 1.0, "peak_mib": 50.0}
    larger = {"seconds": 20.0, "cpu_seconds": 10.0, "peak_mib": 50.0}
    row = table({10: {"1": stage}, 100: {"1": larger}}).splitlines()[-1]
    assert row == "| 1 | 2.0 | 1.0 | 50 | 20.0 | 10.0 | 50 | 1.00 | 0.00 | 100000 |"
