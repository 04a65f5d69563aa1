"""The full-size configurations of the papers are as they were when they were compared.

``full_size_configs.yaml`` has the options of one of them, with the defaults of the code, and what
the others have instead. ``without`` lists how names begin that only the first one has.
Commit 029e0623 compared all of them with the settings of the original (docs/parity.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import yaml

from espnet_plugin.model.factory import COMPONENTS, default_options, projection
from espnet_plugin.model.layer_weighting import LayerWeighting
from espnet_plugin.tasks.speechclip import SpeechCLIPTask
from espnet_plugin.tasks.speechclip_options import DEFAULT_MODEL
from espnet_plugin.utils.options import options_of

PROJECT = Path(__file__).parents[3]
TUNING = PROJECT / "egs2" / "speechclip_plus" / "conf" / "tuning"
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
    others = ("mini_*.yaml", "digits_*.yaml", "custom_*.yaml")
    others += ("*_annealed.yaml", "*_original.yaml")
    assert SNAPSHOT.keys() == {
        p.stem for p in TUNING.glob("*.yaml") if not any(map(p.match, others))
    }


def differences(name: str) -> dict[str, tuple[str, str]]:
    """The original's value and ours of each option that parity lists for a configuration."""
    text = (PROJECT / "docs" / "parity.md").read_text(encoding="utf-8")
    found = {}
    for option, original, ours, why in re.findall(
        r"^\| `([\w.-]+)` \| (\w+) \| ([\w.]+) \| (.*) \|$", text, re.MULTILINE
    ):
        only = re.findall(r"`([\w*]+)`", why)
        if not only or any(fnmatchcase(name, pattern) for pattern in only):
            found[option] = (original, ours)
    return found


def test_a_configuration_takes_all_corrections_back() -> None:
    listed = differences(BASE)
    assert len(listed) == 10
    in_yaml = {key: values for key, values in listed.items() if not key.startswith("--")}
    ours, original = settings(BASE), settings(f"{BASE}_original")
    changed = {key: value for key, value in original.items() if ours.get(key) != value}
    del changed["config"]
    # transformers' configuration has other dropouts than fairseq, so the page adds one to D26
    assert changed.pop("speech_encoder_conf.dropout") == 0.1
    assert changed == {key: yaml.safe_load(values[0]) for key, values in in_yaml.items()}
    assert {key: ours.get(key, False) for key in in_yaml} == {
        key: yaml.safe_load(values[1]) for key, values in in_yaml.items()
    }
    assert ours.keys() - original.keys() == {"model_conf.compatibility"}


def test_the_page_gives_the_other_options_in_its_command() -> None:
    page = (PROJECT / "docs" / "train.md").read_text(encoding="utf-8")
    shown = re.findall(r"^```console\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (command,) = (text for text in shown if f"{BASE}_original.yaml" in text)
    none = {"--min_wav_duration": "0", "--max_wav_duration": "inf"}
    for option, (original, _) in differences(BASE).items():
        if option.startswith("--") and option != "--seed":  # no seed repeats the original's
            assert f"{option} {none.get(option, original)}" in command
