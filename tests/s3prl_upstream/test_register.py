from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import s3prl_upstream
from s3prl_upstream import register

PROJECT = Path(s3prl_upstream.SITE_DIRECTORY).parents[1]


def python(*arguments: object, path: list[object] = (), cwd: Path | None = None) -> str:
    """Runs a fresh Python from another directory and returns what it prints."""
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(map(str, [*path, PROJECT]))
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=cwd,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_register_twice_changes_nothing() -> None:
    hub = ModuleType("hub")
    register(hub)
    before = dict(vars(hub))
    register(hub)
    assert vars(hub) == before
    names = [name for name in before if name[0] != "_"]
    assert names == ["speechclip_plus", "speechclip_plus_encoder"]


def test_refuses_a_foreign_upstream_of_the_same_name() -> None:
    hub = ModuleType("hub")
    hub.speechclip_plus = len
    with pytest.raises(RuntimeError, match="already has an upstream speechclip_plus, of builtins"):
        register(hub)
    assert hub.speechclip_plus is len


def test_package_imports_neither_torch_nor_s3prl() -> None:
    code = """
import s3prl_upstream.patches, sys
assert callable(s3prl_upstream.register) and callable(s3prl_upstream.speechclip_plus)
assert not {"torch", "s3prl", "espnet_plugin"} & set(sys.modules)
"""
    python("-c", code)


def test_site_hook_runs_the_hidden_sitecustomize(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import builtins; builtins.system_hook = True\n")
    code = """
import sys
assert system_hook
assert sys.modules["sitecustomize"].__file__.startswith(sys.argv[1])
assert [f for f in sys.meta_path if getattr(f, "name", "") == "s3prl.hub"]
assert not {"torch", "s3prl"} & set(sys.modules)
"""
    python("-c", code, tmp_path, path=[s3prl_upstream.SITE_DIRECTORY, tmp_path])


def test_site_hook_leaves_pythons_without_the_package_alone(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": s3prl_upstream.SITE_DIRECTORY}
    code = "import sys; assert 's3prl_upstream' not in sys.modules; print('fine')"
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sitecustomize; {code}"],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("fine\n", "")


needs_s3prl = pytest.mark.skipif(
    importlib.util.find_spec("s3prl") is None, reason="s3prl is not installed"
)


@needs_s3prl
@pytest.mark.slow
def test_site_hook_makes_s3prl_nn_see_the_upstream(model_dir: Path, tmp_path: Path) -> None:
    """The real s3prl, in this process and in a spawned one, with both checks of its own nn."""
    script = tmp_path / "program.py"
    script.write_text(
        """
import multiprocessing, sys

def states(path):
    import torch
    from s3prl.nn import Featurizer, S3PRLUpstream
    assert "speechclip_plus" in S3PRLUpstream.available_names()
    upstream = S3PRLUpstream("speechclip_plus", path_or_url=path).eval()
    assert upstream.num_layers == 4 and set(upstream.downsample_rates) == {320}
    assert set(upstream.hidden_sizes) == {24}
    for normalize in (False, True):
        for selections in (None, [0, 1, 3]):
            featurizer = Featurizer(upstream, layer_selections=selections, normalize=normalize)
            for lengths in ([1], [300, 160], [961], [1039, 400], [16000, 9000, 800]):
                wavs = torch.randn(len(lengths), max(lengths))
                all_states, all_lengths = upstream(wavs, torch.tensor(lengths))
                expected = [(n - 1) // 320 + 1 for n in lengths]
                assert all_lengths[0].tolist() == expected, (all_lengths, lengths)
                frames, frame_lengths = featurizer(all_states, all_lengths)
                assert frames.shape == (len(lengths), max(expected), 24)
    for row, length in enumerate([16000, 9000, 800]):  # a batch and each utterance alone agree
        alone, alone_lengths = upstream(wavs[row : row + 1, :length], torch.tensor([length]))
        for one, many in zip(alone, all_states):
            assert torch.allclose(one[0], many[row, : one.size(1)], atol=1e-4)
    upstream.train()
    trained = S3PRLUpstream("speechclip_plus", path, extra_conf={"trainable": True})
    sum(s.sum() for s in trained(wavs, torch.tensor([16000, 9000, 800]))[0]).backward()

if __name__ == "__main__":
    states(sys.argv[1])
    child = multiprocessing.get_context("spawn").Process(target=states, args=(sys.argv[1],))
    child.start(); child.join()
    print("child", child.exitcode)
"""
    )
    printed = python(script, model_dir, path=[s3prl_upstream.SITE_DIRECTORY], cwd=tmp_path)
    assert printed.splitlines()[-1] == "child 0"


def test_torch_hub_takes_the_project_directory(model_dir: Path, tmp_path: Path) -> None:
    import hubconf  # it is in the checkout only

    code = """
import ast, sys, torch
upstream = torch.hub.load(sys.argv[1], "speechclip_plus", source="local", ckpt=sys.argv[2])
imported = set()
for name, module in list(sys.modules.items()):
    if name.startswith(("espnet_plugin", "s3prl_upstream")) and ".backends." not in name:
        for node in ast.walk(ast.parse(open(module.__file__).read())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            imported.update(names or [getattr(node, "module", None) or ""])
imported = {name.partition(".")[0] for name in imported} & sys.modules.keys()
print(*sorted(imported - sys.stdlib_module_names - {"espnet_plugin", "s3prl_upstream"}))
print(len(upstream([torch.zeros(4000)])["hidden_states"]))
"""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(PROJECT), str(model_dir)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        check=True,
    )
    *_, imported, number = done.stdout.splitlines()
    assert number == "4"
    assert [name for name in imported.split() if name != "humanfriendly"] == hubconf.dependencies
