"""Options of the SpeechCLIP task: choices, defaults, and values that follow from them."""

from __future__ import annotations

import argparse
import importlib.util
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from espnet2.utils.nested_dict_action import NestedDictAction
from espnet2.utils.types import float_or_none, int_or_none, str2bool, str_or_none

from espnet_plugin.model.factory import COMPONENTS, MODEL_OPTIONS, component
from espnet_plugin.model.objectives import Objectives
from espnet_plugin.teachers.speech_encoder import FrozenSpeechEncoder
from espnet_plugin.utils.options import is_own_class, options_of

# Options of parts without a choice of class.
CONF_OPTIONS = {
    "layer_weighting_conf": "learned weights over the encoder's hidden states",
    "parallel_projection_conf": "projection of the parallel branch",
    "keyword_projection_conf": "projection of the keywords",
}
DEFAULT_ENCODER = {"model": "facebook/hubert-base-ls960"}
DEFAULT_CLIP = {"model": "ViT-B-32-quickgelu", "pretrained": "openai"}
OBJECTIVES = options_of(Objectives)
DEFAULT_MODEL = {"parallel": True, **MODEL_OPTIONS, "compatibility": {}, **OBJECTIVES}


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``build_speechclip`` and the ESPnet model."""
    group = parser.add_argument_group(description="Model related")
    for key, known in COMPONENTS.items():
        group.add_argument(
            f"--{key}",
            type=partial(_checked_name, key),
            default=next(iter(known)),
            help=f"{', '.join(known)}, or a class of your own as module:Class",
        )
        group.add_argument(
            f"--{key}_conf", action=NestedDictAction, default={}, help=f"Options of the {key}"
        )
    for name, help_text in CONF_OPTIONS.items():
        group.add_argument(
            f"--{name}", action=NestedDictAction, default={}, help=f"Options of the {help_text}"
        )
    group.add_argument(
        "--clip_conf",
        action=NestedDictAction,
        default=DEFAULT_CLIP,
        help="CLIP: model (open_clip name or JSON file), pretrained (tag or file), cache_dir",
    )
    group.add_argument(
        "--keyword_vocabulary",
        type=str_or_none,
        default=None,
        help="Sub-words to choose keywords from: tokens.tsv (in YAML also a list of token ids)",
    )
    group.add_argument(
        "--spoken_languages",
        nargs="*",
        default=[],
        metavar="NAME",
        help="Languages of the training's speech (utt2lang), which the model tells its users",
    )
    group.add_argument(
        "--synthetic_speech",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="Share of training's recordings in which synthetic voices speak; its card tells it",
    )
    group.add_argument(
        "--model_conf",
        action=NestedDictAction,
        default=DEFAULT_MODEL,
        help="Branches and weights of the objectives",
    )


def _checked_name(key: str, name: str) -> str | None:
    """Checks a word, or imports ``module:Class``, and returns it, or None for ``none``."""
    name = name if is_own_class(name) else name.lower()
    try:
        return component({key: name}, key) and name
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def add_batch_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the sampler, the preprocessor and the trainer."""
    group = parser.add_argument_group(description="Batch related")
    group.add_argument(
        "--sort_window",
        type=int,
        default=1,
        help="Batches that are drawn together and sorted by length. 1 shuffles uniformly; more "
        "saves padding, but negatives then have nearly equal length",
    )
    group.add_argument(
        "--crop_seconds",
        type=float_or_none,
        default=None,
        help="Cut longer speech to a random stretch of this many seconds, only in training",
    )
    group.add_argument(
        "--crop_frames",
        type=int_or_none,
        default=None,
        help="Derived from --crop_seconds for stored hidden states; a value given is ignored",
    )
    group.add_argument(
        "--normalize_before_crop",
        type=str2bool,
        default=False,
        help="Normalise waveforms before they are cropped; for speech encoders with "
        "normalize_waveform",
    )
    group.add_argument(
        "--use_preprocessor",
        type=str2bool,
        default=True,
        help="Check speech and embeddings; images and captions are always converted",
    )


def set_defaults(parser: argparse.ArgumentParser) -> None:
    """Sets the defaults of ESPnet's own options that suit contrastive training."""
    parser.set_defaults(
        speech_encoder_conf=DEFAULT_ENCODER,
        iterator_type="task",
        valid_iterator_type="task",
        num_att_plot=0,
        optim="adam",
        best_model_criterion=[("valid", "recall_mean_at_1", "max")],
        # without it ESPnet would stop at the first epoch
        use_tensorboard=importlib.util.find_spec("tensorboard") is not None,
        # redraws every curve after every epoch, which takes longer than an epoch of a small corpus;
        # report.html has the learning curve
        use_matplotlib=False,
    )


def _training_data(args: argparse.Namespace) -> Sequence[tuple[str, str, str]]:
    """Path, name and type of each part; empty if the model is not built for training."""
    return getattr(args, "train_data_path_and_name_and_type", None) or ()


def trains_on_states(args: argparse.Namespace) -> bool:
    """Whether the training data are stored hidden states."""
    return any(name == "speech_states" for _, name, _ in _training_data(args))


def crop_frames(
    args: argparse.Namespace, encoder: FrozenSpeechEncoder, *, stored: bool
) -> int | None:
    """Number of frames in ``crop_seconds``, or None if no stored states are cropped.

    Args:
        args: The training's options.
        encoder: Its speech encoder.
        stored: Whether its data are stored hidden states.

    Raises:
        ValueError: If ``crop_seconds`` is too short for a frame.
    """
    seconds = getattr(args, "crop_seconds", None)
    if seconds is None:
        return None
    samples = round(seconds * encoder.sampling_rate)
    if samples < encoder.min_samples:
        raise ValueError(
            f"--crop_seconds {seconds}: {samples} samples are fewer than the speech encoder needs "
            f"for one frame, {encoder.min_samples}"
        )
    if not stored:
        return None
    frames = int(encoder.frame_lengths(torch.tensor([samples])))
    if getattr(args, "crop_frames", None) not in (None, frames):
        logging.warning(f"crop_frames {args.crop_frames} is ignored: {seconds} s are {frames}")
    return frames


def clip_conf_of(args: argparse.Namespace) -> dict[str, Any]:
    """``clip_conf`` without CLIP's image tower if image embeddings are stored."""
    conf = dict(args.clip_conf or {})
    types = [type_ for _, name, type_ in _training_data(args) if name == "image"]
    if types and all(type_ == "npy" for type_ in types):
        conf.setdefault("image_tower", False)
    return conf
