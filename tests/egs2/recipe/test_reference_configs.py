"""The full-size configurations are the original's, but for what is named with a reason."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.egs2.recipe.reference_mapping import (
    DIFFERENCES,
    FILES,
    MODEL_OPTIONS,
    OWN,
    RECIPE,
    TRAINING_OPTIONS,
    TUNING,
    UNUSED,
    Unused,
    differences,
    our_settings,
    reference_settings,
)

ROOT = Path(__file__).parents[3]
FIXTURES = Path(os.environ.get("SPEECHCLIP_FIXTURES", ROOT.parent / "shared" / "fixtures"))
SETTINGS = FIXTURES / "reference_configs.json"
needs_settings = pytest.mark.skipif(not SETTINGS.exists(), reason=f"{SETTINGS} is not there")
MISSING = "missing"


@pytest.fixture(scope="module")
def references() -> dict[str, dict[str, Any]]:
    """The original's settings by our name of the set-up."""
    configs = json.loads(SETTINGS.read_text())["configs"]
    assert set(configs) == set(FILES.values())
    return {name: configs[file] for name, file in FILES.items()}


def changed(value: Any) -> Any:
    """Another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value * 2 + 1
    return [] if isinstance(value, list) else "changed"


def is_translated(name: str, reference: dict[str, Any], field: str) -> bool:
    """Whether another value would give other options, or be refused."""
    try:
        other = reference_settings(name, {**reference, field: changed(reference[field])})
    except (KeyError, ValueError):
        return True
    return other != reference_settings(name, reference)


@needs_settings
@pytest.mark.parametrize("name", FILES)
def test_every_difference_has_its_reason(name: str, references: dict[str, dict[str, Any]]) -> None:
    original, ours = reference_settings(name, references[name]), our_settings(name)
    found = {
        f"{option}: {original.get(option, MISSING)} -> {ours.get(option, MISSING)}"
        for option in {*original, *ours}
        if original.get(option, MISSING) != ours.get(option, MISSING)
    }
    named = {f"{d.option}: {d.original} -> {d.ours}" for d in DIFFERENCES if d.covers(name)}
    assert sorted(found - named) == []
    assert sorted(named - found) == []


@needs_settings
def test_every_setting_of_the_original_is_accounted_for(
    references: dict[str, dict[str, Any]],
) -> None:
    forgotten: list[str] = []
    needed: list[Unused] = []
    for name, reference in references.items():
        for field, value in reference.items():
            if is_translated(name, reference, field):
                continue
            reasons = [entry for entry in UNUSED if entry.covers(name, field, value)]
            needed += reasons
            if not reasons:
                forgotten.append(f"{name}: {field}: {value}")
    assert forgotten == []
    assert [entry.field for entry in UNUSED if entry not in needed] == []


@pytest.mark.parametrize("name", FILES)
def test_every_option_of_ours_is_compared(name: str) -> None:
    options = set(yaml.safe_load((TUNING / f"{name}.yaml").read_text()))
    assert options - {*MODEL_OPTIONS, *TRAINING_OPTIONS} == set(OWN)


def test_every_full_size_configuration_of_the_papers_is_compared() -> None:
    ours = ("mini_*.yaml", "digits_*.yaml", "*_annealed.yaml")
    assert set(FILES) == {p.stem for p in TUNING.glob("*.yaml") if not any(map(p.match, ours))}


def test_the_parity_page_has_the_differences() -> None:
    """If this fails: ``python -m tests.egs2.recipe.reference_mapping`` prints what it must say."""
    page = RECIPE.parents[1] / "docs" / "parity.md"
    assert f"\n\n{differences()}\n" in page.read_text(encoding="utf-8")
