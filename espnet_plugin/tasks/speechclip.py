"""SpeechCLIP(+) as an ESPnet task."""

from __future__ import annotations

import argparse
import inspect
import logging
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any, TextIO

import numpy as np
import torch
from espnet2.iterators.abs_iter_factory import AbsIterFactory
from espnet2.iterators.sequence_iter_factory import SequenceIterFactory
from espnet2.tasks.abs_task import AbsTask, IteratorOptions, optim_classes
from espnet2.train.collate_fn import CommonCollateFn
from torch import nn

from espnet_plugin.speechclip.factory import build_speechclip
from espnet_plugin.tasks.speechclip_options import (
    CLASS_CHOICES,
    DEFAULT_MODEL,
    MODEL_OPTIONS,
    add_batch_arguments,
    add_model_arguments,
    loss_choices,
    set_defaults,
)
from espnet_plugin.train.data_files import read_image_ids, read_lengths
from espnet_plugin.train.dataset import NamingDataset
from espnet_plugin.train.espnet_model import ESPnetSpeechCLIPModel
from espnet_plugin.train.preprocessor import SpeechCLIPPreprocessor
from espnet_plugin.train.retrieval_trainer import RetrievalTrainer
from espnet_plugin.train.unique_image_sampler import UniqueImageBatchSampler


class SpeechCLIPTask(AbsTask):
    """Trains the five architectures of SpeechCLIP and SpeechCLIP+, which differ in two switches.

    ``model_conf.parallel`` switches the parallel branch, ``keyword_extractor`` the cascaded one.
    """

    num_optimizers: int = 1
    class_choices_list = CLASS_CHOICES
    trainer = RetrievalTrainer

    @classmethod
    def add_task_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Adds the model's options and the defaults that suit contrastive training."""
        add_model_arguments(parser)
        add_batch_arguments(parser)
        set_defaults(parser)

    @classmethod
    def get_default_config(cls) -> dict[str, Any]:
        """What ``--print_config`` prints, without what the builder itself passes."""
        config = super().get_default_config()
        for choices in cls.class_choices_list:
            conf = config.get(f"{choices.name}_conf")
            if conf:
                conf.pop("compatibility", None)
        return config

    @classmethod
    def print_config(cls, file: TextIO | None = None) -> None:
        """Prints the configuration to where stdout is now, not where it was at import."""
        super().print_config(file=file or sys.stdout)

    @classmethod
    def build_collate_fn(
        cls, args: argparse.Namespace, train: bool
    ) -> Callable[[Collection[tuple[str, dict[str, np.ndarray]]]], Any]:
        """Pads speech and captions; image embeddings and ids are no sequences."""
        return CommonCollateFn(
            float_pad_value=0.0, int_pad_value=-1, not_sequence=("image", "image_id")
        )

    @classmethod
    def build_preprocess_fn(
        cls, args: argparse.Namespace, train: bool
    ) -> Callable[[str, dict[str, Any]], dict[str, np.ndarray]]:
        """Checks speech, decodes pictures, tokenises captions."""
        check = getattr(args, "use_preprocessor", True)
        crop_seconds = getattr(args, "crop_seconds", None) if train else None
        return SpeechCLIPPreprocessor(
            train, clip_conf=args.clip_conf, check=check, crop_seconds=crop_seconds
        )

    @classmethod
    def required_data_names(cls, train: bool = True, inference: bool = False) -> tuple[str, ...]:
        """``speech`` or ``speech_states`` is needed too, see :meth:`build_dataset`."""
        return () if inference else ("image", "image_id")

    @classmethod
    def optional_data_names(cls, train: bool = True, inference: bool = False) -> tuple[str, ...]:
        """Everything else that the model can use."""
        return ("speech", "speech_states", "text", "image", "image_id")

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> ESPnetSpeechCLIPModel:
        """Builds the model and stores what was resolved back into ``args``.

        Raises:
            ValueError: When an option is unknown or DataParallel is asked for.
        """
        if (getattr(args, "ngpu", 0) or 0) > 1 and not getattr(args, "distributed", False):
            raise ValueError(
                f"--ngpu {args.ngpu} without distributed training would split every batch and "
                "compare utterances within each part only. Add --multiprocessing_distributed true "
                "or use --ngpu 1."
            )
        model_conf = dict(args.model_conf or {})
        unknown = sorted(set(model_conf) - set(DEFAULT_MODEL))
        if unknown:
            raise ValueError(
                f"model_conf has unknown option(s) {', '.join(unknown)}; "
                f"known: {', '.join(DEFAULT_MODEL)}"
            )
        loss_class = loss_choices.get_class(args.loss)
        _check_options("loss_conf", loss_class, args.loss_conf)
        speechclip = build_speechclip({**vars(args), "clip_conf": _clip_conf(args)})
        if speechclip.vocabulary is not None and not isinstance(args.keyword_vocabulary, Mapping):
            # a model must load where the vocabulary file is not
            args.keyword_vocabulary = [int(token_id) for token_id in speechclip.vocabulary.ids]
        return ESPnetSpeechCLIPModel(
            speechclip,
            loss_class,
            args.loss_conf,
            **{name: model_conf[name] for name in MODEL_OPTIONS if name in model_conf},
        )

    @classmethod
    def build_optimizers(
        cls, args: argparse.Namespace, model: nn.Module
    ) -> list[torch.optim.Optimizer]:
        """One optimizer over the trainable parameters, which counts its updates in the model.

        ``--exclude_weight_decay true`` gives norms, biases and temperatures (everything with fewer
        than two dimensions) a group without weight decay.
        """
        if args.sharded_ddp:
            raise ValueError("--sharded_ddp is not supported: the trained part is small.")
        trainable = [p for p in model.parameters() if p.requires_grad]
        if not trainable:
            raise ValueError("No parameter is trainable; check --freeze_param.")
        groups: list[dict[str, Any]] = [{"params": trainable}]
        if args.exclude_weight_decay:
            groups = [
                {"params": [p for p in trainable if p.dim() >= 2]},
                {"params": [p for p in trainable if p.dim() < 2], "weight_decay": 0.0},
            ]
        optimizer = optim_classes[args.optim](groups, **args.optim_conf)
        if isinstance(model, ESPnetSpeechCLIPModel):
            # Counts updates and not batches: exact with accumulation, and with steps that mixed
            # precision or a non-finite gradient leaves out.
            optimizer.register_step_post_hook(lambda *_: model.num_updates.add_(1))
        return [optimizer]

    @classmethod
    def build_dataset(
        cls,
        args: argparse.Namespace,
        iter_options: IteratorOptions,
        keys_to_load: set[str | int] | None = None,
    ) -> NamingDataset:
        """ESPnet's dataset with errors that name the file."""
        if args.multi_task_dataset:
            raise ValueError("--multi_task_dataset is not supported.")
        dataset = NamingDataset(
            iter_options.data_path_and_name_and_type,
            float_dtype=args.train_dtype,
            preprocess=iter_options.preprocess_fn,
            max_cache_size=iter_options.max_cache_size,
            max_cache_fd=iter_options.max_cache_fd,
            allow_multi_rates=iter_options.allow_multi_rates,
            keys_to_load=keys_to_load,
        )
        cls.check_task_requirements(
            dataset, args.allow_variable_data_keys, train=iter_options.train
        )
        if not (dataset.has_name("speech") or dataset.has_name("speech_states")):
            raise ValueError(
                "The data has neither speech (wav.scp,speech,sound) nor speech_states "
                "(speech_states.scp,speech_states,npy)."
            )
        return dataset

    @classmethod
    def build_task_iter_factory(
        cls, args: argparse.Namespace, iter_options: IteratorOptions, mode: str
    ) -> AbsIterFactory:
        """New batches each epoch in which no image comes twice; validation in file order."""
        if not iter_options.train:
            iter_options.batch_type = "unsorted"
            return cls.build_sequence_iter_factory(args, iter_options, mode)
        if args.shuffle_within_batch:
            raise ValueError(
                "--shuffle_within_batch would bring captions of one image together again; the "
                "batches are new every epoch anyway."
            )
        lengths = read_lengths(iter_options.shape_files)
        world_size, rank = 1, 0
        if iter_options.distributed:
            world_size = torch.distributed.get_world_size()
            rank = torch.distributed.get_rank()
        sampler = UniqueImageBatchSampler(
            read_image_ids(iter_options.data_path_and_name_and_type, lengths),
            batch_size=iter_options.batch_size,
            lengths=lengths,
            sort_window=args.sort_window,
            world_size=world_size,
            rank=rank,
        )
        logging.info(f"[{mode}] Batch sampler: {sampler}")
        dataset = cls.build_dataset(args, iter_options)
        logging.info(f"[{mode}] dataset:\n{dataset}")
        return SequenceIterFactory(
            dataset=dataset,
            batches=sampler,
            seed=args.seed,
            num_iters_per_epoch=iter_options.num_iters_per_epoch,
            shuffle=False,  # the sampler draws and orders anew for each epoch
            num_workers=args.num_workers,
            collate_fn=iter_options.collate_fn,
            pin_memory=args.ngpu > 0,
        )


def _clip_conf(args: argparse.Namespace) -> dict[str, Any]:
    """Leaves CLIP's image tower out when the image embeddings were computed beforehand."""
    conf = dict(args.clip_conf or {})
    data = getattr(args, "train_data_path_and_name_and_type", None) or ()
    types = [type_ for _, name, type_ in data if name == "image"]
    if types and all(type_ == "npy" for type_ in types):
        conf.setdefault("image_tower", False)
    return conf


def _check_options(key: str, class_: type, conf: dict[str, Any] | None) -> None:
    known = list(inspect.signature(class_).parameters)
    unknown = sorted(set(conf or {}) - set(known))
    if unknown:
        raise ValueError(
            f"{key} has unknown option(s) {', '.join(unknown)}; known: {', '.join(known)}"
        )
