from __future__ import annotations

import pytest

from espnet_plugin.utils.architectures import architecture_name


@pytest.mark.parametrize(
    ("parallel", "extractor", "name"),
    [
        (True, "none", "parallel"),
        (False, "cls", "cascaded"),
        (False, "cif", "cascaded+"),
        (True, "cls", "hybrid"),
        (True, "cif", "hybrid+"),
        (True, "other", "hybrid (other)"),
    ],
)
def test_architecture_names(parallel, extractor, name):
    config = {"model_conf": {"parallel": parallel}, "keyword_extractor": extractor}
    assert architecture_name(config) == name


def test_a_mixture_in_training_is_annealed():
    config = {"keyword_extractor": "cif", "quantizer_conf": {"hard": False}}
    assert architecture_name(config) == "hybrid+ annealed"


def test_names_of_architectures() -> None:
    """ESPnet writes ``keyword_extractor: none`` as null."""
    names = {None: "parallel", "none": "parallel", "cls": "hybrid", "a.b:C": "hybrid (a.b:C)"}
    for extractor, name in names.items():
        assert architecture_name({"keyword_extractor": extractor}) == name
