"""The full-size configurations of the papers are as they were when they were compared.

``full_size_configs.yaml`` has the options of one of them, with the defaults of the code, and what
the others have instead. ``without`` lists how names begin that only the first one has.
Commit 029e0623 compared all of them with the settings of the original (docs/parity.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from espnet_plugin.model.factory import COMPONENTS, default_options, projection
from espnet_plugin.model.layer_weighting import LayerWeighting
from espnet_plugin.tasks.speechclip import SpeechCLIPTask
from espnet_plugin.tasks.speechclip_options import DEFAULT_MODEL
from espnet_plugin.utils.options import options_of

TUNING = Path(__file__).parents[3] / "egs2" / "speechclip_plus" / "conf" / "tuning"
SNAPSHOT = yaml.safe_load(Path(__file__).with_name("full_size_configs.yaml").read_text())
BASE = "flickr8k_base_hybrid_plus"


def flattened(options: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Options by their names, joined by dots."""
    for name, value in options.items():
        if isinstance(value, Mapping) and value:
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield prefix + name, [*value] if isinstance(value, tuple) else value


def settings(name: str) -> dict[str, Any]:
    """What a training with a configuration of the recipe reads."""
    parser = SpeechCLIPTask.get_parser()
    config = vars(parser.parse_args(["--config", str(TUNING / f"{name}.yaml")]))
    defaults = {f"{key}_conf": default_options(config, key) for key in COMPONENTS}
    defaults |= dict.fromkeys(
        ("parallel_projection_conf", "keyword_projection_conf"), options_of(projection)
    )
    defaults |= {"layer_weighting_conf": options_of(LayerWeighting), "model_conf": DEFAULT_MODEL}
    filled = {key: known | (config.get(key) or {}) for key, known in defaults.items()}
    filled["best_model_criterion"] = [list(entry) for entry in config["best_model_criterion"]]
    return dict(flattened(config | filled))


@pytest.mark.parametrize("name", SNAPSHOT)
def test_the_options_are_those_of_the_comparison(name: str) -> None:
    own = dict(SNAPSHOT[name])
    without = tuple(own.pop("without", ()))
    base = {key: value for key, value in SNAPSHOT[BASE].items() if not key.startswith(without)}
    expected, found = base | own, settings(name)
    assert {key: found.get(key, "missing") for key in expected} == expected


def test_every_configuration_of_the_papers_is_here() -> None:
    others = ("mini_*.yaml", "digits_*.yaml", "custom_*.yaml", "*_annealed.yaml")
    assert SNAPSHOT.keys() == {
        p.stem for p in TUNING.glob("*.yaml") if not any(map(p.match, others))
    }
