"""Saving a model as a directory of its own, and loading one from everything that holds one."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from espnet_plugin.speechclip.factory import build_speechclip
from espnet_plugin.speechclip.hub import EXPECTED, resolve_model
from espnet_plugin.speechclip.model import SpeechCLIP
from espnet_plugin.speechclip.storage_format import (
    CLIP_DIRECTORY,
    CONFIG_FILE,
    LOG_SCALE,
    SPEECH_ENCODER_DIRECTORY,
    TRAINED_FILE,
    TrainedPart,
    config_of_checkpoint,
    experiment_directories,
    new_directory,
    read_config,
    read_trained,
    resolve_paths,
    write_config,
    write_trained,
)

META_FILE = "meta.yaml"
PREFIX = "speechclip."  # of the model inside ESPnet's
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
)


def save_speechclip(
    model: SpeechCLIP,
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
    config = {key: config[key] for key in CONFIG_KEYS if config.get(key) is not None}
    with new_directory(directory, force=force) as target:
        if model.vocabulary is not None:
            vocabulary = model.vocabulary
            config["keyword_vocabulary"] = {
                "ids": list(vocabulary.ids),
                "forbidden": sorted(vocabulary.forbidden),
            }
        write_config(target, _with_copied_teachers(config, target))
        weights = {
            key: value.detach().cpu()
            for key, value in model.state_dict().items()
            if not key.startswith(model.frozen_prefixes)
        }
        table = model.token_table if model.vocabulary is not None else None
        write_trained(target, weights, token_table=table, log_scale=log_scale)


def load_speechclip(
    source: str | Path,
    *,
    config: str | Path | None = None,
    device: str | torch.device = "cpu",
    image_tower: bool = True,
    text_tower: bool = True,
) -> SpeechCLIP:
    """Loads a trained model in evaluation mode.

    Args:
        source: An exported model (converted checkpoints are such), an ESPnet experiment or one of
            its checkpoints, a zip file with one of these, as ESPnet packs it, or the name
            ``owner/model`` of a repository on the Hugging Face hub.
        config: ``config.yaml`` of a checkpoint; None: the one beside it.
        device: Where it goes.
        image_tower: Keep CLIP's image tower, which embeds pictures.
        text_tower: Keep CLIP's text tower, which embeds texts and keywords. Without it the cascaded
            embedding is None; keywords are found all the same.

    Raises:
        FileNotFoundError: If there is no such file or directory, nor such a repository.
        ValueError: If it holds no model, or weights and configuration do not fit together.
    """
    source = resolve_model(source)
    towers = {"image_tower": image_tower, "text_tower": text_tower}
    if source.is_dir():
        model = _load_directory(source, towers)
    elif zipfile.is_zipfile(source) and source.suffix not in (".pth", ".ckpt", ".pt"):
        model = _load_zip(source, towers)
    elif source.suffix == ".pth":
        config_file = config_of_checkpoint(source) if config is None else Path(config)
        model = _load_experiment(config_file, source, towers)
    elif source.suffix == ".ckpt":
        raise ValueError(
            f"{source}: a checkpoint of the original implementation is converted first: "
            f"python -m espnet_plugin.bin.convert_checkpoint {source} OUT_DIR"
        )
    else:
        raise ValueError(f"{source}: holds no model; expected {EXPECTED}")
    return model.to(device).eval()


def _with_copied_teachers(config: dict[str, Any], target: Path) -> dict[str, Any]:
    config = {
        key: dict(value) if isinstance(value, Mapping) else value for key, value in config.items()
    }
    encoder = config.get("speech_encoder_conf", {})
    for option in ("model", "checkpoint"):
        path = Path(str(encoder.get(option) or ""))
        if encoder.get(option) and path.is_dir():
            shutil.copytree(path, target / SPEECH_ENCODER_DIRECTORY)
            encoder[option] = SPEECH_ENCODER_DIRECTORY
        elif encoder.get(option) and path.is_file():
            (target / SPEECH_ENCODER_DIRECTORY).mkdir(exist_ok=True)
            shutil.copy(path, target / SPEECH_ENCODER_DIRECTORY)
            encoder[option] = f"{SPEECH_ENCODER_DIRECTORY}/{path.name}"
    clip = config.get("clip_conf", {})
    for option in ("model", "pretrained"):
        path = Path(str(clip.get(option) or ""))
        if clip.get(option) and path.is_file():
            (target / CLIP_DIRECTORY).mkdir(exist_ok=True)
            shutil.copy(path, target / CLIP_DIRECTORY)
            clip[option] = f"{CLIP_DIRECTORY}/{path.name}"
    for option in ("image_tower", "text_tower", "cache_dir"):
        clip.pop(option, None)
    return config


def _load_directory(directory: Path, towers: Mapping[str, bool]) -> SpeechCLIP:
    config_file = directory / CONFIG_FILE
    if config_file.is_file() and (directory / TRAINED_FILE).is_file():
        config = resolve_paths(read_config(config_file), directory)
        return _build(config, read_trained(directory), towers, directory / TRAINED_FILE)
    if config_file.is_file():
        checkpoint = _choose_checkpoint(directory, read_config(config_file))
        if checkpoint is not None:
            return _load_experiment(config_file, checkpoint, towers)
    found = ", ".join(sorted(path.name for path in directory.iterdir())[:6]) or "nothing"
    raise ValueError(f"{directory}: holds no model; expected {EXPECTED}; found {found}")


def _choose_checkpoint(directory: Path, config: Mapping[str, Any]) -> Path | None:
    """The averaged or else the best model by the first criterion there is, or else the latest."""
    names = []
    for phase, metric, *_ in config.get("best_model_criterion") or ():
        names += [f"{phase}.{metric}.ave.pth", f"{phase}.{metric}.best.pth"]
    for name in (*names, "latest.pth"):
        if (directory / name).is_file():
            return directory / name
    return None


def _load_experiment(
    config_file: Path, checkpoint: Path, towers: Mapping[str, bool], *roots: Path
) -> SpeechCLIP:
    if not config_file.is_file():
        raise FileNotFoundError(
            f"{checkpoint}: its experiment's {config_file.name} is not beside it ({config_file})"
        )
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling errors have no common base class
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"{checkpoint}: cannot be read as a checkpoint's weights ({reason})"
        ) from error
    if isinstance(state, Mapping) and isinstance(state.get("model"), Mapping):
        state = state["model"]  # checkpoint.pth, with the optimiser's state
    weights = {
        key.removeprefix(PREFIX): value
        for key, value in (state.items() if isinstance(state, Mapping) else ())
        if isinstance(key, str) and key.startswith(PREFIX)
    }
    if not weights:
        raise ValueError(
            f"{checkpoint}: no checkpoint of this task: no weight begins with {PREFIX!r}"
        )
    config = resolve_paths(read_config(config_file), *experiment_directories(config_file), *roots)
    return _build(config, TrainedPart(weights, None, state.get(LOG_SCALE)), towers, checkpoint)


def _load_zip(path: Path, towers: Mapping[str, bool]) -> SpeechCLIP:
    with tempfile.TemporaryDirectory(prefix="speechclip_") as temporary:
        root = Path(temporary)
        with zipfile.ZipFile(path) as archive:
            archive.extractall(root)  # removes absolute and parent parts of names
        if (root / META_FILE).is_file():
            meta = yaml.safe_load((root / META_FILE).read_text(encoding="utf-8"))
            files = _packed_files(meta, path)
            config_file, checkpoint = (root / name.lstrip("/") for name in files)
            return _load_experiment(config_file, checkpoint, towers, root)
        exported = [
            trained.parent
            for trained in root.rglob(TRAINED_FILE)
            if (trained.parent / CONFIG_FILE).is_file()
        ]
        if len(exported) == 1:
            return _load_directory(exported[0], towers)
    raise ValueError(
        f"{path}: holds no model; expected {EXPECTED}; the zip file has neither {META_FILE} nor an "
        "exported model"
    )


def _packed_files(meta: Any, path: Path) -> tuple[str, str]:
    """Names of configuration and checkpoint in a packed model's ``meta.yaml``."""
    sections = [
        meta.get(name) if isinstance(meta, Mapping) else None for name in ("yaml_files", "files")
    ]
    configs, files = (
        list(section.values()) if isinstance(section, Mapping) else [] for section in sections
    )
    checkpoints = [name for name in files if str(name).endswith(".pth")]
    if len(configs) != 1 or len(checkpoints) != 1:
        raise ValueError(
            f"{path}: its {META_FILE} names {len(configs)} configurations and {len(checkpoints)} "
            "checkpoints, expected one each"
        )
    return str(configs[0]), str(checkpoints[0])


def _build(
    config: Mapping[str, Any], trained: TrainedPart, towers: Mapping[str, bool], source: Path
) -> SpeechCLIP:
    # Without a stored table the embeddings of the vocabulary come from the text tower, which is
    # dropped afterwards.
    has_keywords = config.get("keyword_extractor", "cif") not in (None, "none")
    needs_text = towers["text_tower"] or (has_keywords and trained.token_table is None)
    conf = {**(config.get("clip_conf") or {}), **towers, "text_tower": needs_text}
    model = build_speechclip({**config, "clip_conf": conf}, token_table=trained.token_table)
    if not towers["text_tower"]:
        model.clip.text_tower = None
    # A file may hold the frozen weights too (ESPnet's never does); the configuration's are taken.
    weights = {
        key: value
        for key, value in trained.weights.items()
        if not key.startswith(model.frozen_prefixes)
    }
    try:
        missing, unexpected = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{source}: its weights do not fit its {CONFIG_FILE}: {reason}") from error
    problems = [f"{key} is missing" for key in missing if not key.startswith(model.frozen_prefixes)]
    problems += [f"{key} is not known" for key in unexpected]
    if problems:
        more = f" and {len(problems) - 4} more" if len(problems) > 4 else ""
        raise ValueError(
            f"{source}: its weights do not fit its {CONFIG_FILE}: {'; '.join(problems[:4])}{more}"
        )
    return model
