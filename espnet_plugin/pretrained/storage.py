"""Saving a model as a directory of its own, and loading one from whatever holds one."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from espnet_plugin.pretrained.storage_format import (
    CONFIG_FILE,
    FILE_OPTIONS,
    LOG_SCALE,
    TEACHER_DIRECTORIES,
    TOKEN_TABLE,
    new_directory,
    write_config,
    write_trained,
)
from espnet_plugin.pretrained.stored_model import opened
from espnet_plugin.speechclip.clip import FrozenCLIP
from espnet_plugin.speechclip.compatibility import ReferenceCompatibility
from espnet_plugin.speechclip.factory import build_speechclip
from espnet_plugin.speechclip.hub import is_remote_name
from espnet_plugin.speechclip.model import SpeechCLIPModel
from espnet_plugin.speechclip.vocabulary import KeywordVocabulary
from espnet_plugin.speechclip.weights import check_fit
from espnet_plugin.utils.device import torch_device

CONFIG_KEYS = (
    "speech_encoder",
    "speech_encoder_conf",
    "layer_weighting_conf",
    "clip_conf",
    "keyword_vocabulary",
    "attention",
    "attention_conf",
    "parallel_projection_conf",
    "keyword_extractor",
    "keyword_extractor_conf",
    "keyword_projection_conf",
    "keyword_norm",
    "keyword_norm_conf",
    "quantizer",
    "quantizer_conf",
    "loss",
    "loss_conf",
    "model_conf",
    "converted_from",
)


def save_speechclip(
    model: SpeechCLIPModel,
    config: Mapping[str, Any],
    directory: str | Path,
    *,
    log_scale: Tensor | None = None,
    force: bool = False,
) -> None:
    """Exports a model as a directory that loads by itself.

    Frozen models that the configuration takes from local files are copied into it; public ones stay
    names.

    Args:
        model: Trained model.
        config: What it was built from; other keys than the model's are left out.
        directory: Where; it appears when it is complete.
        log_scale: Logarithm of the contrastive loss's scale.
        force: Replace a directory that is not empty.

    Raises:
        FileExistsError: If the directory is not empty.
    """
    with new_directory(directory, force=force) as target:
        _write(model, config, target, log_scale)


def load_speechclip(
    source: str | Path,
    *,
    config: str | Path | None = None,
    device: str | torch.device = "cpu",
    image_tower: bool = True,
    text_tower: bool = True,
    trust_remote_code: bool = False,
) -> SpeechCLIPModel:
    """Loads a trained model in evaluation mode.

    Nothing of its files is executed: weights are read as tensors, and its configuration may name
    only what :mod:`espnet_plugin.pretrained.trust` lists.

    Args:
        source: An exported model (converted checkpoints are such), an ESPnet experiment or one of
            its checkpoints, a zip file with one of these, as ESPnet packs it, the name of a
            released model, or ``owner/model`` on the Hugging Face hub.
        config: ``config.yaml`` of a checkpoint; None: the one beside it.
        device: Where it goes.
        image_tower: Keep CLIP's image tower, which embeds pictures.
        text_tower: Keep CLIP's text tower, which embeds texts and keywords. Without it the cascaded
            embedding is None; keywords are found all the same.
        trust_remote_code: Whoever made the model is trusted: its configuration may name speech
            encoders and tokenizers that can run code that comes with it.

    Raises:
        FileNotFoundError: If there is no such file or directory, nor such a repository.
        UntrustedModelError: If it names what may run code, and is not trusted.
        ValueError: If it holds no model, weights and configuration do not fit together, or there
            is no such device.
    """
    device = torch_device(device)
    towers = {"image_tower": image_tower, "text_tower": text_tower}
    with opened(source, config, trusted=trust_remote_code) as stored:
        model = _build(stored.config, stored.read_weights(), towers, stored.weights_file)
    return model.to(device).eval()


def load_clip(
    source: str | Path,
    *,
    image_tower: bool = True,
    text_tower: bool = True,
    trust_remote_code: bool = False,
) -> FrozenCLIP:
    """Loads the frozen CLIP of a trained model, and nothing else of it.

    Args:
        source: As for :func:`load_speechclip`, which also says what is raised.
        image_tower: With the tower that embeds pictures.
        text_tower: With the tower that embeds texts.
        trust_remote_code: As there.
    """
    towers = {"image_tower": image_tower, "text_tower": text_tower}
    with opened(source, trusted=trust_remote_code) as stored:
        return FrozenCLIP(**{**(stored.config.get("clip_conf") or {}), **towers})


def save_loaded(
    model: SpeechCLIPModel,
    source: str | Path,
    directory: Path,
    *,
    image_clip: FrozenCLIP | None = None,
    trust_remote_code: bool = False,
) -> bool:
    """Writes a model that was loaded, with the weights that it has now.

    The trained weights and the embeddings of the vocabulary come from memory. The configuration and
    the files of the frozen models come from the source, so these must not have changed in memory.

    Args:
        model: From :func:`load_speechclip`.
        source: What it was loaded from.
        directory: Empty, or not there yet.
        image_clip: From :func:`load_clip`, if it was loaded apart from the model.
        trust_remote_code: As for :func:`load_speechclip`.

    Returns:
        Whether the model is still the one that the source holds.

    Raises:
        FileNotFoundError: If the source is gone.
        ValueError: If a frozen weight or an option changed in memory; the message names it.
    """
    towers = {name: getattr(model.clip, name) is not None for name in ("image_tower", "text_tower")}
    with opened(source, trusted=trust_remote_code) as stored:
        weights = stored.read_weights()
        log_scale = weights.get(LOG_SCALE)
        reference = _build(stored.config, weights, towers, stored.weights_file)
        ours, theirs = _trained(model.state_dict()), _trained(reference.state_dict())
        check_fit(
            ours, theirs, f"{source}: its {CONFIG_FILE} does not describe the weights to save"
        )
        changed = set(_differences(model, reference))
        if image_clip is not None:
            conf = {**(stored.config.get("clip_conf") or {}), "text_tower": False}
            changed |= {f"clip.{name}" for name in _differences(image_clip, FrozenCLIP(**conf))}
        fixed = sorted(changed - theirs.keys() - {TOKEN_TABLE})
        if fixed:
            more = f" and {len(fixed) - 4} more" if len(fixed) > 4 else ""
            raise ValueError(
                f"{', '.join(fixed[:4])}{more}: not as in {source}, and changes in memory are "
                f"saved of trained weights only. Change an option in the model's {CONFIG_FILE} and "
                "load it again. Save a changed speech encoder or CLIP as files, and name them in "
                "the configuration of save_speechclip"
            )
        directory.mkdir(exist_ok=True)
        _write(model, stored.config, directory, log_scale)
    return not changed


def place_teachers(
    config: Mapping[str, Any],
    target: Path,
    *,
    place: Callable[[Path, Path], object] = shutil.copyfile,
) -> tuple[dict[str, Any], set[Path]]:
    """Puts the local files of a configuration's frozen models into a directory.

    Args:
        config: Configuration; names on a hub stay names.
        target: The directory.
        place: Copies a file to a path.

    Returns:
        The configuration that names what lies in the directory now, by paths relative to it, and
        the originals.

    Raises:
        FileNotFoundError: If a file is named that is not here.
    """
    placed, originals = copy.deepcopy(dict(config)), set()
    for section, option in FILE_OPTIONS:
        conf = placed.get(section) or {}
        conf.pop("cache_dir", None)  # one of this machine means nothing elsewhere
        value = str(conf.get(option) or "")
        if not value:
            continue
        source, folder = Path(value), TEACHER_DIRECTORIES[section]
        # CLIP's are files: a folder only happens to be called like a tag of open_clip
        if source.is_dir() and section != "clip_conf":
            files = [path for path in sorted(source.iterdir()) if path.is_file()]
            conf[option] = folder
        elif source.is_file():
            files = [source]
            conf[option] = f"{folder}/{source.name}"
        elif is_remote_name(value):
            continue
        else:
            raise FileNotFoundError(
                f"{section}.{option}: there is no {value} here; start from the recipe's folder, or "
                "write an absolute path into the configuration"
            )
        (target / folder).mkdir(exist_ok=True)
        for path in files:
            place(path, target / folder / path.name)
            originals.add(path.resolve())
    return placed, originals


def _write(
    model: SpeechCLIPModel, config: Mapping[str, Any], target: Path, log_scale: Tensor | None
) -> None:
    config = {key: config[key] for key in CONFIG_KEYS if key in config}
    if model.vocabulary is not None:
        vocabulary = model.vocabulary
        config["keyword_vocabulary"] = {
            "ids": list(vocabulary.ids),
            "forbidden": sorted(vocabulary.forbidden),
        }
    placed, _ = place_teachers(config, target)
    for tower in ("image_tower", "text_tower"):
        (placed.get("clip_conf") or {}).pop(tower, None)
    write_config(target, placed)
    table = model.token_table if model.vocabulary is not None else None
    weights = _trained(model.state_dict())
    write_trained(target, weights, token_table=table, log_scale=log_scale)


def _trained(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    frozen = SpeechCLIPModel.frozen_prefixes
    return {key: value for key, value in state.items() if not key.startswith(frozen)}


def _differences(ours: nn.Module, theirs: nn.Module) -> Iterator[str]:
    """Names of the modules, options and tensors that are not the same in both."""
    modules, others = dict(ours.named_modules()), dict(theirs.named_modules())
    for name in modules.keys() | others.keys():
        module, other = modules.get(name), others.get(name)
        if name.startswith(SpeechCLIPModel.frozen_prefixes):
            continue  # of other libraries; their weights are compared
        if module is None or other is None or type(module) is not type(other):
            yield name
        else:
            options, expected = _options(module), _options(other)
            for option in options.keys() | expected.keys():
                if options.get(option) != expected.get(option):
                    yield f"{name}.{option}".lstrip(".")
    tensors, expected = (
        {**module.state_dict(), **dict(module.named_buffers())} for module in (ours, theirs)
    )
    for key in tensors.keys() | expected.keys():
        tensor, other = tensors.get(key), expected.get(key)
        # in the precision of ours, which may have been made less exact on purpose
        if tensor is None or other is None or not torch.equal(tensor.cpu(), other.to(tensor.dtype)):
            yield key


def _options(module: nn.Module) -> dict[str, Any]:
    """Plain values that a module was built with."""
    kinds = (bool, int, float, str, tuple, list, KeywordVocabulary, ReferenceCompatibility)
    return {
        name: value
        for name, value in vars(module).items()
        if name != "training" and name[0] != "_" and (value is None or isinstance(value, kinds))
    }


def _build(
    config: Mapping[str, Any], weights: dict[str, Tensor], towers: Mapping[str, bool], source: Path
) -> SpeechCLIPModel:
    table = weights.pop(TOKEN_TABLE, None)
    weights.pop(LOG_SCALE, None)  # the loss's, for further training
    conf = {**(config.get("clip_conf") or {}), **towers}
    model = build_speechclip({**config, "clip_conf": conf}, token_table=table)
    # A file may hold the frozen weights too (ESPnet's never does); the configuration's are taken.
    trained, expected = _trained(weights), _trained(model.state_dict())
    check_fit(trained, expected, f"{source}: its weights do not fit its {CONFIG_FILE}")
    model.load_state_dict(trained, strict=False)
    return model
