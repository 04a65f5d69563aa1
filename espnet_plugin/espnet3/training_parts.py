"""Batches, optimizer and scheduler, which the training configuration names by ``_target_``.

They read the options of an ESPnet2 configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from espnet2.tasks.abs_task import optim_classes, scheduler_classes
from espnet3.components.data.dataset import CombinedDataset
from torch import nn

from espnet_plugin.tasks.speechclip import parameter_groups
from espnet_plugin.train.epoch_seeds import EpochIterFactory
from espnet_plugin.train.unique_image_sampler import UniqueImageBatchSampler


def unique_image_batches(
    dataset: CombinedDataset,
    batches: Sequence[Sequence[str]],
    *,
    batch_size: int,
    sort_window: int,
    num_iters_per_epoch: int | None = None,
    seed: int,
    num_workers: int,
    collate_fn: Callable[[Any], Any],
) -> EpochIterFactory:
    """Makes new batches each epoch, without repeated images; see ``UniqueImageBatchSampler``.

    Args:
        dataset: ESPnet3's ``dataset.train``, which must be of one set.
        batches: Batches of ESPnet3's own sampler, which are not used.
        batch_size: Number of utterances of a batch, summed over all ranks.
        sort_window: Number of batches that are drawn together and sorted by length.
        num_iters_per_epoch: Number of batches of an epoch, by default all of the set.
        seed: Seed of the run.
        num_workers: Number of processes that read files.
        collate_fn: Function that makes a batch of items.

    Raises:
        ValueError: If there are several training sets, because each numbers its images from 0.
    """
    if len(dataset.datasets) != 1:
        raise ValueError(
            f"sets in dataset.train: {len(dataset.datasets)}; combine their data directories "
            "before stage 2, so every image gets its own number"
        )
    items = dataset.datasets[0]
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    sampler = UniqueImageBatchSampler(
        items.image_ids(),
        batch_size=batch_size,
        lengths=items.lengths(),
        sort_window=sort_window,
        world_size=torch.distributed.get_world_size() if distributed else 1,
        rank=torch.distributed.get_rank() if distributed else 0,
        seed=seed,
    )
    return EpochIterFactory(
        dataset=dataset,
        batches=sampler,
        seed=seed,
        num_iters_per_epoch=num_iters_per_epoch,
        shuffle=False,  # the sampler draws a new order each epoch
        num_workers=num_workers,
        collate_fn=collate_fn,
        pin_memory=torch.cuda.is_available(),
    )


def build_optimizer(
    parameters: Iterable[nn.Parameter],
    *,
    name: str,
    conf: Mapping[str, Any],
    exclude_weight_decay: bool = False,
) -> torch.optim.Optimizer:
    """The optimizer of an ESPnet2 configuration, with ``SpeechCLIPTask``'s parameter groups."""
    return optim_classes[name](
        parameter_groups(parameters, exclude_weight_decay=exclude_weight_decay), **conf
    )


def build_scheduler(
    optimizer: torch.optim.Optimizer, *, name: str | None, conf: Mapping[str, Any]
) -> Any:
    """The scheduler of an ESPnet2 configuration; without one, the learning rate is constant."""
    if name is None:
        return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    return scheduler_classes[name](optimizer, **conf)
