"""The configuration beside trained weights is what they were trained with."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from espnet_plugin.model.factory import COMPONENTS, default_options, has_keywords, without_idle
from espnet_plugin.model.vocabulary import resolve_vocabulary
from espnet_plugin.pretrained.stored_model import CONFIG_FILE, read_config
from espnet_plugin.tasks.speechclip_options import DEFAULT_MODEL
from espnet_plugin.utils.atomic import write_text

# What may differ when a training continues, because neither weights nor answers follow from it.
FREE_OPTIONS = {
    "where it runs": (
        *("config", "output_dir", "ngpu", "num_workers", "distributed", "local_rank"),
        *("multiprocessing_distributed", "dist_backend", "dist_init_method", "dist_world_size"),
        *("dist_rank", "dist_master_addr", "dist_master_port", "dist_launcher", "ddp_comm_hook"),
        *("gradient_as_bucket_view", "max_cache_size", "max_cache_fd", "valid_max_cache_size"),
    ),
    "what it shows": (
        *("log_level", "log_interval", "num_att_plot", "use_matplotlib", "use_tensorboard"),
        *("create_graph_in_tensorboard", "use_wandb", "wandb_project", "wandb_id", "wandb_entity"),
        *("wandb_name", "wandb_model_log_interval", "print_config", "detect_anomaly"),
    ),
    "whether it starts": (
        *("help", "resume", "dry_run", "collect_stats", "write_collected_feats", "no_forward_run"),
        *("required", "version"),
    ),
    "what follows from the others": ("crop_frames",),
}
_FREE = {name for names in FREE_OPTIONS.values() for name in names}
_LONGEST = 60  # characters of a value in the message


def has_weights(directory: Path) -> bool:
    """Whether a training has left weights in a folder."""
    files = (file for suffix in ("pth", "ckpt") for file in directory.glob(f"*.{suffix}"))
    return any(not file.name.startswith(".") for file in files)


@contextlib.contextmanager
def configuration_kept(directory: Path) -> Iterator[None]:
    """Writes a folder's configuration again if the block raises."""
    path = directory / CONFIG_FILE
    before = path.read_text(encoding="utf-8")
    try:
        yield
    except BaseException:
        write_text(path, before)
        raise


def require_same_options(
    directory: Path, options: Mapping[str, Any], *, parser: argparse.ArgumentParser
) -> None:
    """Compares the options of a training with those of the weights in its folder.

    ``FREE_OPTIONS`` may differ, and ``max_epoch`` may grow.

    Args:
        directory: Folder of the experiment.
        options: Of this training, as ESPnet's task gets them.
        parser: The task's, which has what an option is that is not given.

    Raises:
        ValueError: If another option differs, or the folder's configuration cannot be read.
    """
    if not has_weights(directory):
        return
    try:
        before = read_config(directory / CONFIG_FILE)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{error}. It says what the weights beside it were trained with: restore it, or move "
            f"{directory} away"
        ) from error
    defaults = {action.dest: action.default for action in parser._actions}
    if found := list(_differences({**defaults, **before}, {**defaults, **options})):
        raise ValueError(
            f"{directory}: its weights were trained with other options: {'; '.join(found)}. Give "
            "those of before to continue, or another folder (--speechclip_tag, --output_dir) to "
            f"train another model, or move {directory} away"
        )


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    before, now = _flat(before, classes=now), _flat(now, classes=now)
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name), now.get(name)
        if old != new and not (name == "max_epoch" and new and old and new > old):
            shown = f"{old}, now {new}"
            yield f"{name} ({shown if len(shown) < _LONGEST else 'another'})"


def _flat(options: Mapping[str, Any], *, classes: Mapping[str, Any]) -> dict[str, Any]:
    """What decides a training, each option of a class by itself and with the class's default."""
    flat: dict[str, Any] = {}
    for name in classes.keys() - _FREE:
        value = _plain(options.get(name))
        if name == "keyword_vocabulary" and not isinstance(value, dict):
            ids = value and has_keywords(classes) and resolve_vocabulary(value, special_ids=()).ids
            value = list(ids or ())
        component = name.removesuffix("_conf")
        if name.endswith("_conf") and component in COMPONENTS:
            value = {**_plain(default_options(classes, component)), **(value or {})}
        elif name == "model_conf":
            value = {**DEFAULT_MODEL, **without_idle(value or {})}
        if isinstance(value, dict):
            flat.update({f"{name}.{key}": item for key, item in value.items()})
        else:
            flat[name] = value
    return flat


def _plain(value: Any) -> Any:
    """A value as a YAML file gives it back."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
