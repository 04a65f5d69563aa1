"""Save a model as a directory, and load one from there or from an experiment."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from espnet_plugin.model.factory import COMPONENTS, build_speechclip, construct
from espnet_plugin.model.model import SpeechCLIPModel
from espnet_plugin.patches import weights_only_loading
from espnet_plugin.pretrained.choices import Choices
from espnet_plugin.pretrained.names import resolve_model
from espnet_plugin.pretrained.stored_model import (
    CONFIG_FILE,
    LOG_SCALE,
    TEACHER_DIRECTORIES,
    TOKEN_TABLE,
    StoredModel,
    read_stored,
    write_stored,
)
from espnet_plugin.pretrained.trust import check_trusted
from espnet_plugin.teachers.clip import FrozenCLIP
from espnet_plugin.teachers.weights import check_fit
from espnet_plugin.utils.device import torch_device
from espnet_plugin.utils.scratch import new_directory

CONFIG_KEYS = (
    *(f"{key}{ending}" for key in COMPONENTS for ending in ("", "_conf")),
    *("layer_weighting_conf", "parallel_projection_conf", "keyword_projection_conf"),
    *("clip_conf", "keyword_vocabulary", "model_conf"),
    *("converted_from", "spoken_languages", "synthetic_speech"),
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

    Local files of the frozen models are copied into it. Public models stay names.

    Args:
        model: The trained model.
        config: Configuration that it was built from; keys that are not the model's are left out.
        directory: Directory to write, which appears when it is complete.
        log_scale: Logarithm of the contrastive loss's scale.
        force: Whether to replace a directory that is not empty.

    Raises:
        FileExistsError: If the directory is not empty.
    """
    with new_directory(directory, force=force) as target:
        _write(model, config, target, log_scale, Choices())


@contextlib.contextmanager
def open_model(
    source: str | Path, config: str | Path | None = None, *, trusted: bool = False
) -> Iterator[StoredModel]:
    """Finds a model, whose files are read while the block runs.

    If the model is not trusted, its configuration is checked, and libraries read weights only.
    """
    path = resolve_model(source)
    stored = read_stored(path, config)
    if stored.root is not None:  # the folders of downloads are another machine's
        for section in TEACHER_DIRECTORIES:
            (stored.config.get(section) or {}).pop("cache_dir", None)
    if not trusted:
        check_trusted(stored.config, path, root=stored.root)
    with contextlib.nullcontext() if trusted else weights_only_loading():
        yield stored


def read_stored_config(source: str | Path) -> dict[str, Any]:
    """Reads the configuration of a trained model, and builds nothing.

    Local files that it names are found from anywhere.

    Args:
        source: A model in any form that :func:`load_speechclip` takes, which lists the errors, too.
    """
    with open_model(source, trusted=True) as stored:  # nothing that it names is read
        return stored.config


def read_spoken_languages(source: str | Path) -> tuple[str, ...]:
    """Languages of a model's training, see :attr:`StoredModel.spoken_languages`; none is loaded.

    Unknown of a model that is no longer there.
    """
    with contextlib.suppress(FileNotFoundError), open_model(source, trusted=True) as stored:
        return stored.spoken_languages
    return ()


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

    Nothing in its files is executed: weights are read as tensors, and its configuration may name
    only what :mod:`espnet_plugin.pretrained.trust` lists.

    Args:
        source: An exported or converted model, an ESPnet experiment or one of its checkpoints, the
            name of a released model, or ``owner/model`` on the Hugging Face hub.
        config: ``config.yaml`` of a checkpoint, by default the one beside it.
        device: Torch device that the model goes to.
        image_tower: Whether to keep CLIP's image tower, which embeds images.
        text_tower: Whether to keep CLIP's text tower, which embeds texts and keywords. Without it
            there are keywords, but their embedding, ``cascaded``, is None.
        trust_remote_code: Whether you trust the model's author. Its configuration may then name
            speech encoders and tokenizers that can run code that comes with it.

    Raises:
        FileNotFoundError: If there is no such file, directory or repository.
        UntrustedModelError: If it names what may run code, and is not trusted.
        ValueError: If it holds no model, weights and configuration do not fit, or there is no such
            device.
    """
    towers = {"image_tower": image_tower, "text_tower": text_tower}
    model, _ = load_with_stored(source, config, trust_remote_code=trust_remote_code, **towers)
    return model.to(torch_device(device))


def load_with_stored(
    source: str | Path,
    config: str | Path | None = None,
    *,
    trust_remote_code: bool = False,
    **towers: bool,
) -> tuple[SpeechCLIPModel, StoredModel]:
    """Like :func:`load_speechclip`, on the CPU, with what is stored beside the weights."""
    with open_model(source, config, trusted=trust_remote_code) as stored:
        model = _build(stored.config, stored.read_weights(), towers, stored.weights_file)
        return model.eval(), stored


def load_clip(
    source: str | Path,
    *,
    image_tower: bool = True,
    text_tower: bool = True,
    trust_remote_code: bool = False,
) -> FrozenCLIP:
    """Loads the frozen CLIP of a trained model, and nothing else of it.

    Args:
        source: A model in any form that :func:`load_speechclip` takes, which lists the errors, too.
        image_tower: Whether to load the tower that embeds images.
        text_tower: Whether to load the tower that embeds texts.
        trust_remote_code: Whether you trust the model's author, see :func:`load_speechclip`.
    """
    towers = {"image_tower": image_tower, "text_tower": text_tower}
    with open_model(source, trusted=trust_remote_code) as stored:
        conf = {**(stored.config.get("clip_conf") or {}), **towers}
        return construct({"clip_conf": conf}, "clip_conf", FrozenCLIP)


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
        model: Model that :func:`load_speechclip` loaded.
        source: Name or path that it was loaded from.
        directory: Directory to write, which is empty or not there yet.
        image_clip: CLIP that :func:`load_clip` loaded, if that was apart from the model.
        trust_remote_code: Whether you trust the model's author, see :func:`load_speechclip`.

    Returns:
        Whether the model is still the one that the source holds.

    Raises:
        FileNotFoundError: If the source is gone.
        ValueError: If a frozen weight changed in memory; the message names it.
    """
    towers = {name: getattr(model.clip, name) is not None for name in ("image_tower", "text_tower")}
    with open_model(source, trusted=trust_remote_code) as stored:
        weights = stored.read_weights()
        log_scale = weights.get(LOG_SCALE)
        reference = _build(stored.config, weights, towers, stored.weights_file)
        ours, theirs = (each.trained_of(each.state_dict()) for each in (model, reference))
        check_fit(
            ours, theirs, f"{source}: its {CONFIG_FILE} does not describe the weights to save"
        )
        changed = _differences(model, reference)
        if image_clip is not None:
            conf = {**(stored.config.get("clip_conf") or {}), "text_tower": False}
            changed |= {f"clip.{name}" for name in _differences(image_clip, FrozenCLIP(**conf))}
        fixed = sorted(changed - theirs.keys() - {"keyword_branch.table"})
        if fixed:
            more = f" and {len(fixed) - 4} more" if len(fixed) > 4 else ""
            raise ValueError(
                f"{', '.join(fixed[:4])}{more}: not as in {source}, and changes in memory are "
                "saved of trained weights only. Save a changed speech encoder or CLIP as files, "
                "and name them in the configuration of save_speechclip"
            )
        directory.mkdir(exist_ok=True)
        _write(model, stored.config, directory, log_scale, stored.choices)
    return not changed


def _write(
    model: SpeechCLIPModel,
    config: Mapping[str, Any],
    target: Path,
    log_scale: Tensor | None,
    choices: Choices,
) -> None:
    config = {key: config[key] for key in CONFIG_KEYS if key in config}
    weights = model.trained_of(model.state_dict())
    if log_scale is not None:
        weights[LOG_SCALE] = log_scale
    branch = model.keyword_branch
    if branch is not None:
        weights[TOKEN_TABLE] = branch.table
        vocabulary = branch.vocabulary
        config["keyword_vocabulary"] = {
            "ids": list(vocabulary.ids),
            "forbidden": sorted(vocabulary.forbidden),
        }
    write_stored(target, config, weights, choices)


def _differences(ours: nn.Module, theirs: nn.Module) -> set[str]:
    """Names of the tensors that are not the same in both."""
    tensors, others = (
        {**module.state_dict(), **dict(module.named_buffers())} for module in (ours, theirs)
    )
    return {
        key
        for key in tensors.keys() | others.keys()
        # in the precision of the first, which may have been reduced on purpose
        if key not in tensors
        or key not in others
        or not torch.equal(tensors[key].cpu(), others[key].to(tensors[key].dtype))
    }


def _build(
    config: Mapping[str, Any], weights: dict[str, Tensor], towers: Mapping[str, bool], source: Path
) -> SpeechCLIPModel:
    table = weights.pop(TOKEN_TABLE, None)
    weights.pop(LOG_SCALE, None)  # the loss's, to continue training
    conf = {**(config.get("clip_conf") or {}), **towers}
    model = build_speechclip({**config, "clip_conf": conf}, token_table=table)
    # If the file holds frozen weights too, those that the configuration names are used.
    trained, expected = map(model.trained_of, (weights, model.state_dict()))
    check_fit(trained, expected, f"{source}: its weights do not fit its {CONFIG_FILE}")
    model.load_state_dict(trained, strict=False)
    return model
