"""Trainer that scores retrieval over the whole development set.

A contrastive loss within a batch says little about retrieval among thousands of images. So models
are chosen by recall at k, which needs all embeddings at once. ESPnet's trainer only sees batches.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from espnet2.torch_utils.device_funcs import to_device
from espnet2.torch_utils.recursive_op import recursive_average
from espnet2.torch_utils.set_all_random_seed import set_all_random_seed
from espnet2.train.distributed_utils import DistributedOption
from espnet2.train.reporter import SubReporter
from espnet2.train.trainer import Trainer, TrainerOptions
from espnet2.utils.build_dataclass import build_dataclass
from torch import Tensor

from espnet_plugin.data.sampler_files import read_lengths
from espnet_plugin.evaluation.retrieval import RECALL_AT, rank_embeddings, summarize
from espnet_plugin.model.gather import gather_features
from espnet_plugin.patches import weights_only_loading, whole_files
from espnet_plugin.train.checkpoints import (
    read_resume_point,
    repair_experiment,
    statistics_globals,
)
from espnet_plugin.train.epoch_seeds import epoch_seed
from espnet_plugin.train.image_bank import fill_image_bank
from espnet_plugin.train.skipped_updates import WatchedUpdates
from espnet_plugin.utils.memory import memory_errors

SMALLER = (
    "give a smaller --crop_seconds or --batch_size (fewer negatives), or store hidden states "
    "(--dump_speech_states true)"
)


@dataclass
class RetrievalTrainerOptions(TrainerOptions):
    """ESPnet's options, ours, and the training data."""

    train_data_path_and_name_and_type: Sequence[Sequence[str]]
    train_shape_file: Sequence[str]


class RetrievalTrainer(Trainer):
    """Adds ``recall_mean_at_1`` and its companions to the validation statistics.

    Each branch and k has ``<branch>_speech_to_image_recall_at_<k>``,
    ``<branch>_image_to_speech_recall_at_<k>`` and ``<branch>_recall_mean_at_<k>``.
    ``recall_mean_at_<k>`` is the mean over both directions and all branches.
    """

    @classmethod
    def build_options(cls, args: argparse.Namespace) -> RetrievalTrainerOptions:
        """The options that ESPnet gives to the other methods."""
        return build_dataclass(RetrievalTrainerOptions, args)

    @classmethod
    def run(
        cls,
        *,
        trainer_options: RetrievalTrainerOptions,
        distributed_option: DistributedOption,
        **parts: Any,
    ) -> None:
        """Trains. After a kill at any moment the experiment resumes from its last epoch."""
        if trainer_options.resume and (distributed_option.dist_rank or 0) == 0:
            nbest = trainer_options.keep_nbest_models
            repair_experiment(
                Path(trainer_options.output_dir),
                criteria=trainer_options.best_model_criterion,
                keep_nbest=nbest if isinstance(nbest, int) else max(nbest, default=1),
            )
        bank = getattr(parts["model"], "image_bank", None)
        if bank is not None:
            data = trainer_options.train_data_path_and_name_and_type
            fill_image_bank(bank, data, read_lengths(trainer_options.train_shape_file))
            parts["model"].prepare_naming()
        with whole_files():
            super().run(
                trainer_options=trainer_options, distributed_option=distributed_option, **parts
            )

    @staticmethod
    def resume(checkpoint: str | Path, **trained: Any) -> None:
        """Resumes from ``checkpoint.pth`` without executing anything in it."""
        read_resume_point(checkpoint)
        with weights_only_loading(), statistics_globals():
            Trainer.resume(checkpoint, **trained)

    @classmethod
    def train_one_epoch(cls, model: Any, iterator: Any, **kwargs: Any) -> bool:
        """Runs one epoch of ESPnet's trainer, with its own random numbers and process time."""
        options: RetrievalTrainerOptions = kwargs["options"]
        set_all_random_seed(epoch_seed(options.seed, kwargs["reporter"].get_epoch()))
        updates = None
        if not options.no_forward_run:
            model.zero_grad()  # no checkpoint holds gradients of an incomplete update
            iterator = updates = WatchedUpdates(
                iterator, getattr(model, "module", model), accum_grad=options.accum_grad
            )
        before = _cpu_seconds()
        with memory_errors(updates.current if updates is not None else [], remedy=SMALLER):
            stopped = super().train_one_epoch(model=model, iterator=iterator, **kwargs)
        if updates is not None:
            # ESPnet treats an epoch without an update as success
            if stopped:
                updates.skipped.end_epoch()
            kwargs["reporter"].register({"cpu_seconds": _cpu_seconds() - before})
            kwargs["reporter"].next()
        return stopped

    @classmethod
    @torch.no_grad()
    def validate_one_epoch(
        cls,
        model: torch.nn.Module,
        iterator: Iterable[tuple[list[str], dict[str, Tensor]]],
        reporter: SubReporter,
        options: TrainerOptions,
        distributed_option: DistributedOption,
    ) -> None:
        """Averages the losses over batches, then scores retrieval over all of them together."""
        module = getattr(model, "module", model)
        module.eval()
        distributed = distributed_option.distributed
        device = "cuda" if options.ngpu > 0 else "cpu"
        found: list[dict[str, Tensor]] = []
        for utterances, batch in _until_any_rank_stops(iterator, distributed, device):
            batch = to_device({**batch, "utt_id": utterances}, device)
            if options.no_forward_run:
                continue
            with (
                memory_errors(utterances, remedy="give a smaller --valid_batch_size"),
                _autocast(options.use_amp, device),
            ):
                embeddings, (_, stats, weight) = module.evaluate(**batch)
            if options.ngpu > 1 or distributed:
                stats, weight = recursive_average(stats, weight, distributed)
            reporter.register(stats, weight)
            reporter.next()
            found.append(embeddings)
        if found:
            reporter.register(validation_recall(found))
            reporter.next()


def validation_recall(
    batches: Sequence[Mapping[str, Tensor]], *, recall_at: Sequence[int] = RECALL_AT
) -> dict[str, float]:
    """Recall of every branch and their mean, by the rules of ``evaluation.retrieval``.

    The scores are of the batches of all ranks, and every rank gets them: each chooses epochs, and
    stops, by its own.

    Each image counts once, whatever its number of captions. A row with NaN counts as zeros, which
    tie with each other: a diverged model scores 0 and its training continues.

    Args:
        batches: This rank's, each with ``image_id`` (utterances,), ``image`` (utterances, dim) and
            one entry per branch (utterances, dim), L2-normalised.
        recall_at: Numbers k of recall@k.

    Returns:
        The scores that ``RetrievalTrainer`` lists, each from 0 to 1.
    """
    embeddings = {
        name: gather_features(torch.cat([batch[name] for batch in batches])) for name in batches[0]
    }
    arrays = {name: _finite_rows(v) for name, v in embeddings.items() if name != "image_id"}
    ids = embeddings["image_id"].cpu().numpy()
    image_ids, first = np.unique(ids, return_index=True)
    images = arrays.pop("image")[first]  # (images, dim)
    scores: dict[str, float] = {}
    for branch, speech in arrays.items():
        to_image, to_speech = (
            summarize(ranks, recall_at=recall_at).recall
            for ranks in rank_embeddings(speech, images, ids, image_ids)
        )
        for k in recall_at:
            scores[f"{branch}_speech_to_image_recall_at_{k}"] = to_image[k]
            scores[f"{branch}_image_to_speech_recall_at_{k}"] = to_speech[k]
            scores[f"{branch}_recall_mean_at_{k}"] = (to_image[k] + to_speech[k]) / 2
    for k in recall_at:
        means = [scores[f"{branch}_recall_mean_at_{k}"] for branch in arrays]
        scores[f"recall_mean_at_{k}"] = sum(means) / len(means)
    return scores


def _finite_rows(values: Tensor) -> np.ndarray:
    values = values.float()
    finite = values.isfinite().all(dim=1, keepdim=True)  # (utterances, 1)
    return values.where(finite, torch.zeros_like(values)).cpu().numpy()


def _cpu_seconds() -> float:
    """Process time so far, of all threads and of data workers that have ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _autocast(use_amp: bool, device: str) -> torch.autocast:
    """Mixed precision as in ESPnet's training loop: only on GPUs, in bfloat16 if supported."""
    enabled = use_amp and device == "cuda"
    bf16 = enabled and torch.cuda.is_bf16_supported()
    return torch.autocast("cuda", torch.bfloat16 if bf16 else torch.float16, enabled=enabled)


def _until_any_rank_stops(iterator: Iterable[Any], distributed: bool, device: str) -> Iterator[Any]:
    """Items until a rank runs out of them, because the collectives need all ranks."""
    if not distributed:
        yield from iterator
        return
    stop = torch.zeros((), device=device)
    for item in iterator:
        torch.distributed.all_reduce(stop)
        if stop > 0:
            return
        yield item
    stop.fill_(1)
    torch.distributed.all_reduce(stop)
