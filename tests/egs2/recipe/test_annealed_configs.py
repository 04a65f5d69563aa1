"""The tables of docs/hybrid_plus_annealed.md, and the configurations that they describe."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from espnet_plugin.model.attention import AttentionBlock
from espnet_plugin.model.keyword_extractor import CifKeywordExtractor
from espnet_plugin.model.quantizer import TokenQuantizer
from espnet_plugin.tasks.speechclip_options import DEFAULT_MODEL

PROJECT = Path(__file__).parents[3]
CONF = PROJECT / "egs2" / "speechclip_plus" / "conf" / "tuning"
PAGE = PROJECT / "docs" / "hybrid_plus_annealed.md"
CORPORA = ("mini", "flickr8k_base", "flickr8k_large", "spokencoco_large")

# how long a training runs, beside what, and what it logs
RUN = {"max_epoch", "num_workers", "log_interval"}
# of the large ones, as the page says below its table
LARGE = {"accum_grad", "keyword_projection_conf.hidden_dims", "keyword_projection_conf.dropout"}
LARGE |= {"model_conf.parallel_weight", "model_conf.cascaded_weight"}


def options(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A configuration's options by their dotted names."""
    found = {}
    for name, value in config.items():
        if name == "best_model_criterion":
            ((_, value, _),) = value
        nested = options(value, f"{name}.") if isinstance(value, dict) else {name: value}
        found |= {prefix + key: option for key, option in nested.items()}
    return found


CLASSES = {
    "attention_conf": AttentionBlock,
    "keyword_extractor_conf": CifKeywordExtractor,
    "quantizer_conf": TokenQuantizer,
}
DEFAULTS = {f"model_conf.{name}": value for name, value in DEFAULT_MODEL.items()} | {
    f"{prefix}.{name}": parameter.default
    for prefix, chosen in CLASSES.items()
    for name, parameter in inspect.signature(chosen).parameters.items()
}


def read(name: str) -> dict[str, Any]:
    """A configuration's options, those with a default too."""
    return DEFAULTS | options(yaml.safe_load((CONF / f"{name}.yaml").read_text(encoding="utf-8")))


def table(columns: int) -> dict[str, list[str]]:
    """Rows of the page's table of options with so many columns of values."""
    row = re.compile(r"^\| `([\w.]+)`[^|]* " + r"\| ([^|]*) " * columns + r"\|$", re.MULTILINE)
    return {name: cells for name, *cells in row.findall(PAGE.read_text(encoding="utf-8"))}


def value_of(cell: str, corpus: str) -> Any:
    """A cell's value for a corpus."""
    values = re.findall("`([^`]+)`", cell)
    large = "large" in corpus and "(large: " in cell
    return yaml.safe_load(values[1 if large else 0])


@pytest.mark.parametrize("corpus", CORPORA)
def test_only_the_listed_options_differ(corpus: str) -> None:
    plain, annealed = read(f"{corpus}_hybrid_plus"), read(f"{corpus}_hybrid_plus_annealed")
    first = 0 if corpus == "mini" else 2
    listed = {
        name: tuple(value_of(cell, corpus) for cell in cells[first : first + 2])
        for name, cells in table(4).items()
    }
    values = {name: (plain.get(name), annealed.get(name)) for name in plain | annealed}
    differ = {name: pair for name, pair in values.items() if pair[0] != pair[1]}
    assert differ == {name: pair for name, pair in listed.items() if pair[0] != pair[1]}
    assert listed.items() <= values.items()


@pytest.mark.parametrize("corpus", CORPORA)
def test_what_else_minis_evidence_rests_on(corpus: str) -> None:
    both = [read(f"{corpus}_hybrid_plus"), read(f"{corpus}_hybrid_plus_annealed")]
    for name, cells in table(2).items():
        said = value_of(cells[corpus != "mini"], corpus)
        assert [config.get(name) for config in both] == [said] * 2, name


@pytest.mark.parametrize("corpus", CORPORA[1:])
def test_what_differs_from_mini_is_listed(corpus: str) -> None:
    mini, full = read("mini_hybrid_plus_annealed"), read(f"{corpus}_hybrid_plus_annealed")
    differ = {name for name in mini | full if mini.get(name) != full.get(name)}
    teachers = {name for name in differ if re.match(r"(speech_encoder|layer_weighting|clip)", name)}
    listed = RUN | {*table(2), *table(4)} | (LARGE if "large" in corpus else set())
    assert differ - teachers == differ & listed
