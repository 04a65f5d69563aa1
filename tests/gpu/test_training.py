"""Trainings of tiny models on a GPU, which benchmarks/gpu.sh runs, or on the processor."""

from __future__ import annotations

import argparse
import copy
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from espnet2.torch_utils.device_funcs import to_device
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from espnet_plugin.tasks.speechclip import SpeechCLIPTask
from espnet_plugin.teachers.speech_batch import waveform_batch
from espnet_plugin.train.espnet_model import ESPnetSpeechCLIPModel

COMMON = ["--batch_size", "4", "--num_workers", "0", "--use_tensorboard", "false"]
COMMON += ["--use_matplotlib", "false", "--optim_conf", "lr=0.01", "--log_level", "WARNING"]
WAITS = 2  # the recordings' lengths, the largest number of keywords


def build(arguments: list[str]) -> tuple[ESPnetSpeechCLIPModel, argparse.Namespace]:
    args = SpeechCLIPTask.get_parser().parse_args([*COMMON, *arguments])
    torch.manual_seed(0)
    return SpeechCLIPTask.build_model(args).train(), args


@pytest.fixture(scope="module")
def built(model_arguments) -> tuple[ESPnetSpeechCLIPModel, argparse.Namespace]:
    """A hybrid+ model without dropout, in training mode, and its options."""
    return build(model_arguments)


@pytest.fixture
def batch(device) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    lengths = torch.tensor([8000, 6400, 5000, 4000])
    batch = {
        "speech": waveform_batch(torch.randn(4, 8000, generator=generator), lengths),
        "image": torch.randn(4, 32, generator=generator),
        "image_id": torch.arange(4)[:, None],
    }
    return to_device(batch, device)


def gradients(model: torch.nn.Module) -> dict[str, Tensor]:
    named = model.named_parameters()
    return {name: p.grad.cpu() for name, p in named if p.grad is not None}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision_is_near_single_precision(built, batch, device, dtype) -> None:
    model = copy.deepcopy(built[0]).to(device)
    expected = float(model(**batch)[0].detach())
    scaler = torch.amp.GradScaler(device, enabled=dtype == torch.float16)
    (optimizer,) = SpeechCLIPTask.build_optimizers(built[1], model)
    for _ in range(20):  # the first scales may be too large
        optimizer.zero_grad()
        with torch.autocast(device, dtype):
            loss = model(**batch)[0]
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        if model.updates_done:
            break
    # a keyword may be another sub-word, which a batch of four notices
    assert abs(float(loss.detach()) - expected) < 0.2 * abs(expected)
    assert model.updates_done == 1
    assert all(p.isfinite().all() for p in model.parameters())


def test_the_driver_counts_the_same_waits(built, batch, device) -> None:
    if device != "cuda":
        pytest.skip("tests/espnet_plugin/train/test_step.py counts them without a GPU")
    model = copy.deepcopy(built[0]).to(device)
    model(**batch)[0].backward()  # what is set up once may wait
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            model(**batch)[0].backward()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    waits = [str(w.message) for w in caught if "synchroniz" in str(w.message)]
    assert len(waits) <= WAITS, waits


def test_the_encoder_compiles(built, batch, device) -> None:
    model = copy.deepcopy(built[0]).to(device)
    expected = model(**batch)[0].detach()
    backend = "inductor" if device == "cuda" else "aot_eager"
    for layer in model.speechclip.speech_encoder.backend.model.encoder.layers:
        layer.feed_forward.compile(backend=backend, dynamic=True)
    torch.testing.assert_close(model(**batch)[0].detach(), expected, rtol=1e-3, atol=1e-3)


def rank_main(rank: int, init: str, device: str, arguments, batch, results) -> None:
    """One of two processes, each with half of the batch. They share a single GPU."""
    torch.set_num_threads(1)
    several = device == "cuda" and torch.cuda.device_count() > 1
    # NCCL refuses two processes on one GPU
    torch.distributed.init_process_group(
        "nccl" if several else "gloo", init_method=f"file://{init}", rank=rank, world_size=2
    )
    place = torch.device(device, rank if several else 0) if device == "cuda" else device
    model = build(arguments)[0].to(place)
    parallel = DistributedDataParallel(model, find_unused_parameters=True)
    speech = batch["speech"]
    own = {name: value[rank::2] for name, value in batch.items() if name != "speech"}
    own["speech"] = waveform_batch(speech.waveforms[rank::2], speech.lengths[rank::2])
    parallel(**to_device(own, place))[0].backward()
    results[rank] = gradients(parallel.module)
    torch.distributed.destroy_process_group()


def test_two_processes_train_like_one(
    built, model_arguments, batch, device, tmp_path: Path
) -> None:
    model = copy.deepcopy(built[0])
    results = torch.multiprocessing.Manager().dict()
    arguments = (str(tmp_path / "init"), device, model_arguments, to_device(batch, "cpu"), results)
    torch.multiprocessing.spawn(rank_main, arguments, nprocs=2)
    model.to(device)(**batch)[0].backward()
    whole = gradients(model)
    assert results[0].keys() == whole.keys()
    for name, value in whole.items():
        torch.testing.assert_close(results[0][name], results[1][name])
        torch.testing.assert_close(results[0][name], value, rtol=1e-2, atol=1e-3)


def test_training_goes_on_where_it_was_stopped(
    tiny_corpus, model_arguments, device, tmp_path: Path
) -> None:
    def train(output: str, epochs: int) -> dict[str, Tensor]:
        SpeechCLIPTask.main(
            cmd=[
                *COMMON,
                *model_arguments,
                *tiny_corpus.data_arguments("train"),
                *tiny_corpus.data_arguments("valid"),
                *("--output_dir", str(tmp_path / output), "--max_epoch", str(epochs)),
                *("--ngpu", str(int(device == "cuda")), "--use_amp", str(device == "cuda")),
                *("--resume", "true"),
            ]
        )
        path = tmp_path / output / f"{epochs}epoch.pth"
        return torch.load(path, map_location="cpu", weights_only=True)

    whole = train("whole", 2)
    train("stopped", 1)
    resumed = train("stopped", 2)
    assert whole["num_updates"] == resumed["num_updates"] == 6
    for name, value in whole.items():
        # sums of a GPU come in another order each time
        torch.testing.assert_close(resumed[name].float(), value.float(), rtol=1e-2, atol=1e-2)
