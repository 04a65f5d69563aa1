from __future__ import annotations

import importlib
import sys
from types import ModuleType

import numpy as np
import pytest

from s3prl_upstream.espnet_gaps import count_edits_with_torchaudio, crop_with_current_numpy
from s3prl_upstream.import_hook import in_place_of


def test_an_array_of_one_element_is_a_number() -> None:
    module = ModuleType("preprocessor")
    exec("def crop(audio, start):\n    return audio[int(start) :]", vars(module))
    crop_with_current_numpy(module)
    audio = np.arange(5)
    assert module.crop(audio, np.array([3])).tolist() == [3, 4]
    assert module.crop(audio, np.int64(3)).tolist() == [3, 4]
    assert module.crop(audio, "3").tolist() == [3, 4]


def test_edits_are_counted_in_texts_and_lists() -> None:
    module = ModuleType("editdistance")
    count_edits_with_torchaudio(module)
    assert module.eval("kitten", "sitting") == 3
    assert module.distance(["a", "b"], []) == 2


def test_what_is_installed_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    for name in ("colorsys", "no_such_module"):
        monkeypatch.delitem(sys.modules, name, raising=False)
        in_place_of(name, lambda module: setattr(module, "is_stand_in", True))
    assert not hasattr(importlib.import_module("colorsys"), "is_stand_in")
    assert importlib.import_module("no_such_module").is_stand_in
    del sys.modules["no_such_module"]
