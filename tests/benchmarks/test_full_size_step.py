from __future__ import annotations

from benchmarks.data_scale import exponent, table
from benchmarks.full_size_step import (
    gpu_estimates,
    make_batch,
    report,
    time_encoder,
)
from espnet_plugin.speechclip.speech_encoder import FrozenSpeechEncoder
from tests.tiny import tiny_hubert_dir


def test_the_encoder_is_timed_and_gives_the_same(tmp_path) -> None:
    model = str(tiny_hubert_dir(tmp_path))
    encoder = FrozenSpeechEncoder("huggingface", model=model)
    batch = make_batch(3, 8)
    times = time_encoder(encoder)
    (states,), order = encoder.in_parts(batch["speech"], batch["speech_lengths"])
    assert order is None
    assert len(times) == 1
    assert len(states.lengths) == 3


def test_estimates_follow_the_arithmetic() -> None:
    # 125 TFLOP/s at a quarter of the peak: 31.25 a second
    estimate = gpu_estimates(31.25, 2)["V100"]
    assert estimate["seconds_per_step"] == 1.0
    assert estimate["hours_for_50000_updates"] == 2 * 50000 / 3600


def test_the_report_labels_estimates() -> None:
    names = "accum_grad audio_seconds batch_size parameters_million trained_million seconds"
    names += " encoder_seconds threads memory_peak_gib memory_built_gib tera_flop"
    names += " config_batch_size encoder_tera_flop loss grad_norm"
    result = dict.fromkeys(names.split(), 1) | {"config": "x", "estimate_gpu": gpu_estimates(1, 1)}
    assert "ESTIMATES for a GPU, derived from the arithmetic and not measured" in report(result)


def test_growth_of_time_and_memory() -> None:
    assert abs(exponent([10, 100], [1.0, 10.0]) - 1) < 1e-9
    assert abs(exponent([10, 100], [5.0, 5.0])) < 1e-9
    stage = {"seconds": 2.0, "cpu_seconds": 1.0, "peak_mib": 50.0}
    larger = {"seconds": 20.0, "cpu_seconds": 10.0, "peak_mib": 50.0}
    row = table({10: {"1": stage}, 100: {"1": larger}}).splitlines()[-1]
    assert row == "| 1 | 2.0 | 1.0 | 50 | 20.0 | 10.0 | 50 | 1.00 | 0.00 | 100000 |"
