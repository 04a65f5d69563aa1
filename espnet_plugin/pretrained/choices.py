"""What was selected on dev for a trained model: ``choices.json`` beside its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from espnet_plugin.utils.constants import CHOICES_FILE
from espnet_plugin.utils.small_files import read_json

Branch = Literal["parallel", "cascaded", "both"]
BRANCHES: tuple[str, ...] = get_args(Branch)
LOWEST = {"min_score": -1.0, "fusion_weight": 0.0}  # the highest of both is 1


@dataclass(frozen=True)
class Choices:
    """How the outputs of a network are used, which the network itself does not know.

    Attributes:
        min_score: Cosine of a keyword and its sub-word from which it is worth reporting.
        fusion_weight: Share of the parallel branch in fusion, 0 to 1, or None if not chosen.
        branch: Branch whose rows rank, or ``both``, or None if not chosen.
    """

    min_score: float = -1.0
    fusion_weight: float | None = None
    branch: Branch | None = None


def take_choices(config: Mapping[str, Any], file: Path) -> Choices:
    """Reads the choices in a file, or without one takes them out of a configuration.

    Models that were packed before there was such a file have them in ``model_conf``. A weight
    without a branch means ``both``.

    Raises:
        ValueError: If the file is damaged, or holds something else.
    """
    model_conf = config.get("model_conf") or {}
    older = {name: model_conf.pop(name) for name in LOWEST if name in model_conf}
    if not file.is_file():
        return _checked(older, "model_conf")
    content = read_json(file)
    if not isinstance(content, dict):
        raise ValueError(f"{file}: expected names and values, got {type(content).__name__}")
    return _checked(content, file)


def write_choices(directory: Path, choices: Choices) -> None:
    """Writes ``choices.json``, if anything was chosen."""
    if choices != Choices():
        chosen = {name: value for name, value in asdict(choices).items() if value is not None}
        (directory / CHOICES_FILE).write_text(json.dumps(chosen) + "\n", encoding="utf-8")


def _checked(content: Mapping[str, Any], source: object) -> Choices:
    for name, value in content.items():
        if name == "branch":
            if value is not None and value not in BRANCHES:
                raise ValueError(f"{source}: branch is {value!r}; expected {', '.join(BRANCHES)}")
            continue
        if name not in LOWEST:
            expected = ", ".join([*LOWEST, "branch"])
            raise ValueError(f"{source}: {name!r} is unknown; expected {expected}")
        unset = name == "fusion_weight" and value is None
        if not unset and not (type(value) in (int, float) and LOWEST[name] <= value <= 1):
            raise ValueError(
                f"{source}: {name} is {value!r}; expected a number from {LOWEST[name]:g} to 1"
            )
    chosen = Choices(**content)
    if chosen.branch is None and chosen.fusion_weight is not None:
        # from before there was a branch, when a search ranked by both if there was a weight
        return replace(chosen, branch="both")
    return chosen
