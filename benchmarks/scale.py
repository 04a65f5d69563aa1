"""Several processes: weak scaling of the trained block, and the gathered loss by batch size."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F

from benchmarks.block import TOKEN_DIM, forward_backward
from benchmarks.full_size_step import CONFIG, build
from benchmarks.measure import Row, Settings, Spread, by_turns

SECONDS = 80
FRAMES, SUBWORDS = 217, 11  # of a caption of 4.33 s


def rows(settings: Settings) -> Iterator[Row]:
    """What a rank computes of the loss alone, then whole updates with gloo."""
    for ranks in (2, 8):
        for batch in (64,) if settings.quick else (1024, 4096):
            yield loss_of_a_rank(batch, ranks, settings.turns)
    if not settings.quick:
        yield weak_scaling(settings, utterances=16)


def loss_of_a_rank(batch: int, ranks: int, turns: int) -> Row:
    """Its rows against all, beside all against all, as every rank once computed it."""
    from espnet_plugin.speechclip.losses import MaskedContrastiveLoss

    torch.manual_seed(0)
    speech = F.normalize(torch.randn(batch, TOKEN_DIM), dim=-1).requires_grad_()
    images = F.normalize(torch.randn(batch, TOKEN_DIM), dim=-1)
    ids, own = torch.arange(batch), slice(0, batch // ranks)
    loss = MaskedContrastiveLoss()
    times = by_turns(
        {
            "ours": forward_backward(lambda s: loss(s, images, ids, own=own), speech),
            "baseline": forward_backward(lambda s: loss(s, images, ids), speech),
        },
        turns=turns,
    )
    mib = 2 * own.stop * batch * 4 / 2**20
    return Row(
        f"loss on one of {ranks} ranks, {batch:,} utterances in all",
        **times,
        baseline_is="all similarities on every rank",
        note=f"{mib:.0f} MiB of similarities; all are {mib * ranks / 2:.0f}",
    )


def weak_scaling(settings: Settings, *, utterances: int) -> Row:
    """Updates of hybrid+ from given hidden states by two processes, beside one by one."""
    seconds = {ranks: updates(settings, ranks, utterances) for ranks in (1, 2)}
    return Row(
        f"update of hybrid+ from hidden states, gloo, 2 processes of {utterances} utterances",
        seconds[2],
        bound=seconds[1],
        bound_is=f"1 process of {utterances}",
        note="the clock's seconds, one thread each",
    )


def updates(settings: Settings, ranks: int, utterances: int) -> Spread:
    """Seconds of each update on the clock."""
    directory = settings.work_dir / f"ranks{ranks}"
    directory.mkdir()
    torch.multiprocessing.spawn(worker, (ranks, utterances, directory), nprocs=ranks)
    return Spread.of(json.loads((directory / "seconds.json").read_text()))


def worker(rank: int, ranks: int, utterances: int, directory: Path) -> None:
    """One rank: a warm-up and some updates under DistributedDataParallel."""
    import logging

    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{directory}/init", rank=rank, world_size=ranks
    )
    own = directory / str(rank)
    own.mkdir()
    model, _ = build(CONFIG, own)
    encoder = model.speechclip.speech_encoder
    batch = {
        "speech_states": torch.randn(utterances, FRAMES, encoder.num_layers, encoder.dim),
        "speech_states_lengths": torch.full((utterances,), FRAMES),
        "image": F.normalize(torch.randn(utterances, model.speechclip.clip.embedding_dim), dim=-1),
        "image_id": torch.arange(utterances)[:, None] + rank * utterances,
        "text": torch.ones(utterances, SUBWORDS, dtype=torch.long),
        "text_lengths": torch.full((utterances,), SUBWORDS),
    }
    parallel = torch.nn.parallel.DistributedDataParallel(model.train())
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad])
    seconds = []
    for _ in range(6):
        torch.distributed.barrier()
        started = time.monotonic()
        loss, _, _ = parallel(**batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        torch.distributed.barrier()
        seconds.append(time.monotonic() - started)
    if rank == 0:
        (directory / "seconds.json").write_text(json.dumps(seconds[1:]))
    torch.distributed.destroy_process_group()
