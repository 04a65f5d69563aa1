from __future__ import annotations

from pathlib import Path

import pytest

from s3prl_upstream.run_downstream import _cache_directory, complete_arguments
from s3prl_upstream.superb.conf import CONF, missing_paths, resolve_own_files
from s3prl_upstream.superb.tasks import TASKS


@pytest.fixture(autouse=True)
def no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_configuration_and_device_are_filled_in() -> None:
    given = ["-m", "train", "-d", "voxceleb1"]
    expected = [*given, "-c", str(CONF / "voxceleb1.yaml"), "--device", "cpu"]
    assert complete_arguments(given, {}) == expected


@pytest.mark.parametrize(
    "given",
    [
        ["-d", "voxceleb1", "-c", "own.yaml", "--device", "cuda"],
        ["-dvoxceleb1", "--config=own.yaml", "--device=cuda"],
        ["-e", "exp", "-d", "voxceleb1", "--device", "cuda"],
        ["-d", "a_task_of_the_user", "--device", "cuda"],
    ],
)
def test_what_is_given_stays(given: list[str]) -> None:
    assert complete_arguments(given, {}) == given


def test_rank_of_torchrun_and_of_torch_distributed_launch() -> None:
    given = ["-d", "x", "--device", "cuda"]
    assert complete_arguments(given, {"LOCAL_RANK": "1"})[-2:] == ["--local_rank", "1"]
    assert complete_arguments([*given, "--local-rank=2"], {"LOCAL_RANK": "2"}) == [
        *given,
        "--local_rank=2",
    ]


def test_own_files_and_unknown_paths() -> None:
    config = {"text": {"vocab": "conf:vocab/phones.txt"}, "list": ["conf:a", 3], "root": "???"}
    assert resolve_own_files(config) == {
        "text": {"vocab": str(CONF / "vocab/phones.txt")},
        "list": [str(CONF / "a"), 3],
        "root": "???",
    }
    assert list(missing_paths(config)) == ["config.root"]


def test_lists_are_kept_with_the_experiment() -> None:
    assert _cache_directory(["-p", "exp/x"]) == Path("exp/x/cache")
    assert _cache_directory(["-n", "x"]) == Path("result/downstream/x/cache")
    assert _cache_directory(["-e", "exp/y/dev-best.ckpt"]) == Path("exp/y/cache")


@pytest.mark.parametrize("task", TASKS.values(), ids=str)
def test_every_task_has_its_configuration(task: object) -> None:
    import yaml

    config = yaml.safe_load(task.config_file.read_text())
    own = [text for text in _strings(resolve_own_files(config)) if text.startswith(str(CONF))]
    assert all(Path(text).is_file() for text in own)
    assert list(missing_paths(config))
    section, *keys = task.workers.split(".")
    for key in keys:
        assert key in config
        config = config[key]


def _strings(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.values() for text in _strings(item)]
    if isinstance(value, list):
        return [text for item in value for text in _strings(item)]
    return [value] if isinstance(value, str) else []


def test_sizes_of_superbs_vocabularies() -> None:
    def lines(name: str) -> list[str]:
        return (CONF / "vocab" / name).read_text().splitlines()

    assert len(lines("phones.txt")) == 71  # 24 consonants, 15 vowels with 3 stresses, SIL, SPN
    assert len(lines("slots.txt")) == 1 + 39
    assert len(lines("asr_characters.txt")) == 28  # letters, apostrophe, word boundary
