from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from s3prl_upstream import patches


@pytest.fixture(autouse=True)
def finders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Import finders and modules of one test do not reach the next."""
    before = dict(sys.modules)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    yield
    for name in set(sys.modules) - set(before):
        del sys.modules[name]


def test_a_patch_follows_the_import_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "awaited").mkdir()
    (tmp_path / "awaited" / "__init__.py").write_text("")
    (tmp_path / "awaited" / "hub.py").write_text("answers = [42]\n")
    monkeypatch.syspath_prepend(tmp_path)
    finders = list(sys.meta_path)
    patches.after_import("awaited.hub", lambda module: module.answers.append("imported"))
    for name in ("awaited", "awaited.hub"):  # who only asks does not use the patch up
        assert importlib.util.find_spec(name) is not None
    import awaited
    import awaited.hub

    assert awaited.hub.answers == [42, "imported"]
    assert sys.meta_path == finders
    assert inspect.getsource(awaited.hub) == "answers = [42]\n"  # its loader is still there
    patches.after_import("awaited.hub", lambda module: module.answers.append("at once"))
    assert awaited.hub.answers[-1] == "at once"


def test_what_is_installed_goes_first() -> None:
    for name in ("colorsys", "no_such_module", "no_such_module.child"):
        sys.modules.pop(name, None)
        patches.in_place_of(name, lambda module: setattr(module, "is_stand_in", True))
    assert not hasattr(importlib.import_module("colorsys"), "is_stand_in")
    assert importlib.import_module("no_such_module").is_stand_in
    assert importlib.import_module("no_such_module.child").is_stand_in


def test_an_array_of_one_element_is_a_number() -> None:
    module = ModuleType("preprocessor")
    exec("def crop(audio, start):\n    return audio[int(start) :]", vars(module))
    patches.crop_with_current_numpy(module)
    audio = np.arange(5)
    assert module.crop(audio, np.array([3])).tolist() == [3, 4]
    assert module.crop(audio, np.int64(3)).tolist() == [3, 4]
    assert module.crop(audio, "3").tolist() == [3, 4]


def test_edits_are_counted_in_texts_and_lists() -> None:
    module = ModuleType("editdistance")
    patches.count_edits_with_torchaudio(module)
    assert module.eval("kitten", "sitting") == 3
    assert module.eval(["a", "b"], []) == 2


def test_a_stand_in_refuses_to_run() -> None:
    module = ModuleType("sox")
    patches.stand_in_for_unused(module)
    with pytest.raises(RuntimeError, match="sox.Transformer is not installed"):
        module.Transformer()


def test_sid_keeps_its_lists_in_the_experiment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "listed_data.py").write_text("CACHE_PATH = 'inside the package'\n")
    monkeypatch.syspath_prepend(tmp_path)
    keep = partial(patches.keep_sid_lists, cache=Path("/experiment"))
    patches.after_import("listed_data", keep)
    assert importlib.import_module("listed_data").CACHE_PATH == "/experiment/voxceleb1"


def test_the_runner_reads_our_configurations(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {"downstream_expert": {"datarc": {"file_path": str(tmp_path)}, "vocab": "conf:x"}}
    args = ModuleType("args")
    args.downstream, args.expdir = "fluent_commands", str(tmp_path)
    runner = ModuleType("run_downstream")
    runner.get_downstream_args = lambda: (args, config, [])
    patches.read_our_configurations(runner)
    _, found, _ = runner.get_downstream_args()
    assert found["downstream_expert"]["vocab"].endswith("superb/conf/x")
    config["downstream_expert"]["datarc"]["file_path"] = "absent"
    with pytest.raises(SystemExit, match="^run_downstream: error: config.*no file .* absent"):
        runner.get_downstream_args()


def test_f_makes_our_upstream_trainable() -> None:
    class Runner:
        def _init_model(self, model, name, trainable, interfaces=None):
            return model

    module = ModuleType("runner")
    module.Runner = Runner
    patches.train_what_f_says(module)

    class Upstream:
        trainable = False

        def set_trainable(self, value: object) -> None:
            self.trainable = value

    for trainable in (False, True):
        model = Runner()._init_model(Upstream(), "Upstream", trainable)
        assert model.trainable is trainable


def test_a_tensor_stays_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "cuda", None)
    patches.stay_on_the_cpu(torch)
    assert torch.ones(2).cuda(0).device.type == "cpu"
