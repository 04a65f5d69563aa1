from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from espnet2.train.trainer import Trainer

from espnet_plugin.train.retrieval_trainer import RetrievalTrainer


def test_no_two_epochs_of_any_seeds_draw_alike(monkeypatch) -> None:
    monkeypatch.setattr(
        Trainer,
        "train_one_epoch",
        lambda **_: (float(torch.rand(())), np.random.randint(2**31)),
    )

    def draw(seed: int, epoch: int) -> tuple[float, int]:
        return RetrievalTrainer.train_one_epoch(
            model=None,
            iterator=[],
            options=SimpleNamespace(seed=seed, no_forward_run=True),
            reporter=SimpleNamespace(get_epoch=lambda: epoch),
            distributed_option=SimpleNamespace(dist_rank=None),
        )

    assert draw(0, 2) == draw(0, 2)
    assert len({draw(seed, epoch) for seed in range(4) for epoch in range(1, 5)}) == 16


def test_batches_need_not_know_how_many_they_are(monkeypatch) -> None:
    # as ESPnet's trainer, which takes iterators without a length, too
    monkeypatch.setattr(Trainer, "train_one_epoch", lambda *, iterator, **_: not list(iterator))
    model = torch.nn.Module()
    model.updates_done = 0
    found: dict[str, float] = {}
    stopped = RetrievalTrainer.train_one_epoch(
        model=model,
        iterator=iter([(["u"], {})]),
        options=SimpleNamespace(seed=0, no_forward_run=False, accum_grad=1),
        reporter=SimpleNamespace(get_epoch=lambda: 1, register=found.update, next=lambda: None),
        distributed_option=SimpleNamespace(dist_rank=None),
    )
    assert not stopped and found["cpu_seconds"] >= 0
