"""SpeechCLIP(+) as an ESPnet task."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from espnet2.iterators.abs_iter_factory import AbsIterFactory
from espnet2.tasks.abs_task import AbsTask, IteratorOptions, optim_classes
from espnet2.train.abs_espnet_model import AbsESPnetModel
from espnet2.train.collate_fn import CommonCollateFn
from espnet2.utils.yaml_no_alias_safe_dump import yaml_no_alias_safe_dump
from torch import nn

from espnet_plugin.data.dataset import SpeechCLIPDataset
from espnet_plugin.data.record import write_record
from espnet_plugin.data.sampler_files import read_image_ids, read_lengths
from espnet_plugin.model.factory import (
    COMPONENTS,
    build_component,
    build_speechclip,
    default_options,
    without_idle,
)
from espnet_plugin.model.objectives import Objectives
from espnet_plugin.patches import configuration_elsewhere, weights_only_loading
from espnet_plugin.pretrained.old_names import accept_old_names, keep_old_context
from espnet_plugin.pretrained.stored_model import CONFIG_FILE, read_config
from espnet_plugin.pretrained.trust import check_trusted
from espnet_plugin.tasks.records import (
    has_weights,
    require_own_states,
    require_same_training,
    training_record,
)
from espnet_plugin.tasks.speechclip_options import (
    DEFAULT_MODEL,
    OBJECTIVES,
    add_batch_arguments,
    add_model_arguments,
    clip_conf_of,
    crop_frames,
    set_defaults,
    trains_on_states,
)
from espnet_plugin.train.checkpoints import RESUME_POINT, read_checkpoint
from espnet_plugin.train.collate import WITHOUT_LENGTH, SpeechCollate
from espnet_plugin.train.epoch_seeds import EpochIterFactory
from espnet_plugin.train.espnet_model import ESPnetSpeechCLIPModel
from espnet_plugin.train.preprocessor import SpeechCLIPPreprocessor
from espnet_plugin.train.retrieval_trainer import RetrievalTrainer
from espnet_plugin.train.unique_image_sampler import UniqueImageBatchSampler
from espnet_plugin.utils.atomic import write_text
from espnet_plugin.utils.command import command_errors, resource_errors
from espnet_plugin.utils.constants import SAMPLING_RATE
from espnet_plugin.utils.hashing import stamp
from espnet_plugin.utils.options import check_options


class SpeechCLIPTask(AbsTask):
    """Trains the five architectures of SpeechCLIP and SpeechCLIP+, which differ in two switches.

    ``model_conf.parallel`` switches the parallel branch, ``keyword_extractor`` the cascaded branch.
    """

    num_optimizers: int = 1
    trainer = RetrievalTrainer

    @classmethod
    def add_task_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Adds the model's options, and defaults for contrastive training."""
        add_model_arguments(parser)
        add_batch_arguments(parser)
        set_defaults(parser)

    @classmethod
    def print_config(cls, file: TextIO | None = None) -> None:
        """Prints the configuration, with every option of the classes that it names.

        Not by ``get_default_config``: ESPnet3 updates that one, and the options of one class would
        reach another.
        """
        config = cls.get_default_config()
        for key in COMPONENTS:
            config[f"{key}_conf"] = {**default_options(config, key), **config[f"{key}_conf"]}
        text = yaml_no_alias_safe_dump(config, indent=4, sort_keys=False)
        (file or sys.stdout).write(text)  # where stdout is now, not where it was at import

    @classmethod
    def main_worker(cls, args: argparse.Namespace) -> None:
        """Trains without executing anything in the checkpoints that it starts from.

        Other options, data or frozen models than those of the weights in its folder end it with one
        message. So do hidden states of another speech encoder, normalisation or recordings, a full
        or read-only disk, or a full memory. ``config.yaml`` and the record stay as they are until
        there are new weights.

        Raises:
            ValueError: If a file of ``--init_param`` is damaged or holds more than weights.
        """
        experiment = Path(args.output_dir)
        trained = has_weights(experiment)
        with command_errors("speechclip_train"):
            for path, _, kind in (
                *(args.train_data_path_and_name_and_type or ()),
                *(args.valid_data_path_and_name_and_type or ()),
            ):
                if kind == "frames":
                    require_own_states(path, vars(args))
            record = None if args.collect_stats else training_record(vars(args))
            if trained and record:
                require_same_training(experiment, record, parser=cls.get_parser())
        for option in args.init_param or ():
            read_checkpoint(option.split(":")[0])
        with weights_only_loading(), resource_errors("speechclip_train"):
            if not trained or record is None:
                if record:
                    experiment.mkdir(parents=True, exist_ok=True)
                    write_record(experiment, record)
                super().main_worker(args)
                return
            before = stamp(experiment / RESUME_POINT)
            with tempfile.TemporaryDirectory() as folder:
                with configuration_elsewhere(args.output_dir, Path(folder)):
                    super().main_worker(args)
                written = Path(folder, CONFIG_FILE)
                if written.exists() and stamp(experiment / RESUME_POINT) != before:
                    write_text(experiment / CONFIG_FILE, written.read_text(encoding="utf-8"))
                    write_record(experiment, record)

    @classmethod
    def build_model_from_file(
        cls,
        config_file: str | Path | None = None,
        model_file: str | Path | None = None,
        device: str = "cpu",
    ) -> tuple[AbsESPnetModel, argparse.Namespace]:
        """Loads a model as ESPnet does, from files that may be others' (``load_speechclip``)."""
        if config_file is None and model_file is not None:
            config_file = Path(model_file).parent / CONFIG_FILE
        if config_file is not None:
            check_trusted(read_config(Path(config_file)), config_file)
        if model_file is not None:
            read_checkpoint(model_file)
        with weights_only_loading():
            return super().build_model_from_file(config_file, model_file, device)

    @classmethod
    def build_collate_fn(
        cls, args: argparse.Namespace, train: bool
    ) -> Callable[[Collection[tuple[str, dict[str, np.ndarray]]]], Any]:
        """Pads speech and captions; ESPnet's statistics stage gets plain tensors."""
        if getattr(args, "collect_stats", False):
            return CommonCollateFn(not_sequence=WITHOUT_LENGTH)
        return SpeechCollate(normalized=getattr(args, "normalize_before_crop", False))

    @classmethod
    def build_preprocess_fn(
        cls, args: argparse.Namespace, train: bool
    ) -> Callable[[str, dict[str, Any]], dict[str, np.ndarray]]:
        """Checks, normalises and crops speech, decodes images, tokenises captions if needed."""
        crop: dict[str, Any] = {}
        if train and getattr(args, "crop_seconds", None) is not None:
            crop["crop_samples"] = round(args.crop_seconds * SAMPLING_RATE)
            crop["crop_frames"] = getattr(args, "crop_frames", None)
        return SpeechCLIPPreprocessor(
            train,
            clip_conf=args.clip_conf,
            check=getattr(args, "use_preprocessor", True),
            normalize=getattr(args, "normalize_before_crop", False),
            captions=(args.keyword_extractor_conf or {}).get("target") == "subwords",
            **crop,
        )

    @classmethod
    def required_data_names(cls, train: bool = True, inference: bool = False) -> tuple[str, ...]:
        """Names of data that must be there, beside ``speech`` or ``speech_states``."""
        return () if inference else ("image", "image_id")

    @classmethod
    def optional_data_names(cls, train: bool = True, inference: bool = False) -> tuple[str, ...]:
        """All other data that the model can use."""
        return ("speech", "speech_states", "text", "image", "image_id")

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> ESPnetSpeechCLIPModel:
        """Builds the model and stores what was resolved back into ``args``.

        Raises:
            ValueError: If an option is unknown, or two options do not fit together; the message
                names them.
        """
        keep_old_context(vars(args))
        dtype = getattr(args, "train_dtype", "float32")
        if dtype != "float32":
            raise ValueError(
                f"--train_dtype {dtype} is not supported; for half precision, use --use_amp true"
            )
        if (getattr(args, "ngpu", 0) or 0) > 1 and not getattr(args, "distributed", False):
            raise ValueError(
                f"--ngpu {args.ngpu} without distributed training would split every batch into "
                "separate ones. Add --multiprocessing_distributed true or use --ngpu 1"
            )
        for option in ("dropout_in_training", "train_layers", "lora"):
            if (args.speech_encoder_conf or {}).get(option) and trains_on_states(args):
                raise ValueError(
                    f"speech_encoder_conf.{option} has no effect on stored hidden states: "
                    "train from recordings (--dump_speech_states false)"
                )
        model_conf = without_idle(args.model_conf or {})
        check_options("model_conf", model_conf, DEFAULT_MODEL)
        loss = build_component(vars(args), "loss")
        speechclip = build_speechclip({**vars(args), "clip_conf": clip_conf_of(args)})
        accept_old_names(speechclip)
        branch = speechclip.keyword_branch
        if branch is not None:
            most = getattr(branch.extractor, "max_keywords", branch.extractor.num_slots)
            room = speechclip.clip.context_length - 2
            if most is not None and most > room:
                raise ValueError(
                    f"keyword_extractor_conf: CLIP's text tower reads at most {room} keywords, got "
                    f"{most}; set max_keywords (num_keywords of cls) to {room} or fewer"
                )
            if not isinstance(args.keyword_vocabulary, Mapping):
                # a model must load without the vocabulary file
                args.keyword_vocabulary = list(branch.vocabulary.ids)
        stored = trains_on_states(args)
        args.crop_frames = crop_frames(args, speechclip.speech_encoder, stored=stored)
        normalized = getattr(args, "normalize_before_crop", False)
        if normalized and not speechclip.speech_encoder.normalize_waveform:
            raise ValueError(
                "--normalize_before_crop true needs speech_encoder_conf.normalize_waveform: true, "
                "which this speech encoder does not have"
            )
        chosen = {name: model_conf[name] for name in OBJECTIVES if name in model_conf}
        return ESPnetSpeechCLIPModel(speechclip, loss, Objectives(**chosen))

    @classmethod
    def build_optimizers(
        cls, args: argparse.Namespace, model: nn.Module
    ) -> list[torch.optim.Optimizer]:
        """Builds one optimizer for the trainable parameters; it counts its updates in the model."""
        if args.sharded_ddp:
            raise ValueError("--sharded_ddp is not supported: the trained part is small.")
        if getattr(args, "exclude_weight_decay_conf", None):
            raise ValueError(
                "--exclude_weight_decay_conf is not supported: --exclude_weight_decay true leaves "
                "out vectors and scalars, such as biases and norms"
            )
        trainable = [p for p in model.parameters() if p.requires_grad]
        if not trainable:
            raise ValueError("No parameter is trainable; check --freeze_param.")
        groups = parameter_groups(trainable, exclude_weight_decay=args.exclude_weight_decay)
        optimizer = optim_classes[args.optim](groups, **args.optim_conf)
        if isinstance(model, ESPnetSpeechCLIPModel):
            # After updates, not batches: this is exact with accumulation and skipped updates.
            optimizer.register_step_post_hook(lambda *_: model.end_update())
        return [optimizer]

    @classmethod
    def build_dataset(
        cls,
        args: argparse.Namespace,
        iter_options: IteratorOptions,
        keys_to_load: set[str | int] | None = None,
    ) -> SpeechCLIPDataset:
        """Builds ESPnet's dataset, with errors that name the file."""
        if args.multi_task_dataset:
            raise ValueError("--multi_task_dataset is not supported.")
        dataset = SpeechCLIPDataset(
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
                "(speech_states.scp,speech_states,frames)"
            )
        return dataset

    @classmethod
    def build_task_iter_factory(
        cls, args: argparse.Namespace, iter_options: IteratorOptions, mode: str
    ) -> AbsIterFactory:
        """Makes new batches each epoch without an image twice; validation is in file order."""
        if not iter_options.train:
            iter_options.batch_type = "unsorted"
            return cls.build_sequence_iter_factory(args, iter_options, mode)
        if args.shuffle_within_batch:
            raise ValueError(
                "--shuffle_within_batch would put captions of one image into one batch. Leave it "
                "out: batches are new every epoch"
            )
        lengths = read_lengths(iter_options.shape_files)
        world_size, rank = 1, 0
        if iter_options.distributed:
            world_size = torch.distributed.get_world_size()
            rank = torch.distributed.get_rank()
        options = {
            "batch_size": iter_options.batch_size,
            "lengths": lengths,
            "sort_window": args.sort_window,
            "world_size": world_size,
            "rank": rank,
            "seed": args.seed,
        }
        data = iter_options.data_path_and_name_and_type
        utt2image = read_image_ids(data, lengths)
        sampler = UniqueImageBatchSampler(utt2image, **options)
        logging.info(f"[{mode}] Batch sampler: {sampler}")
        dataset = cls.build_dataset(args, iter_options)
        logging.info(f"[{mode}] dataset:\n{dataset}")
        return EpochIterFactory(
            dataset=dataset,
            batches=sampler,
            seed=args.seed,
            num_iters_per_epoch=iter_options.num_iters_per_epoch,
            shuffle=False,  # the sampler draws new batches for each epoch
            num_workers=args.num_workers,
            collate_fn=iter_options.collate_fn,
            pin_memory=args.ngpu > 0,
        )

    @classmethod
    def build_chunk_iter_factory(cls, *_: Any, **__: Any) -> AbsIterFactory:
        """Refuses ``iterator_type: chunk``."""
        raise ValueError(
            "iterator_type chunk would cut an utterance, but not its image and caption. Use "
            "iterator_type task and crop_seconds"
        )


def parameter_groups(
    parameters: Iterable[nn.Parameter], *, exclude_weight_decay: bool
) -> list[dict[str, Any]]:
    """Groups of parameters, as an optimizer takes them.

    Args:
        parameters: The model's trainable parameters.
        exclude_weight_decay: Whether norms, biases and temperatures (everything with fewer than
            two dimensions) get a group without weight decay.
    """
    parameters = list(parameters)
    if not exclude_weight_decay:
        return [{"params": parameters}]
    return [
        {"params": [p for p in parameters if p.dim() >= 2]},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
