from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from s3prl_upstream import run_downstream
from s3prl_upstream.run_downstream import check_arguments, complete_arguments, get_parser
from s3prl_upstream.superb.conf import CONF, check_data, missing_paths, resolve_own_files
from s3prl_upstream.superb.tasks import TASKS


@pytest.fixture(autouse=True)
def no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_configuration_and_device_are_filled_in() -> None:
    given = ["-m", "train", "-d", "voxceleb1"]
    expected = [*given, "-c", str(CONF / "voxceleb1.yaml"), "--device", "cpu"]
    assert complete_arguments(given) == expected


@pytest.mark.parametrize(
    "given",
    [
        ["-m", "train", "-d", "voxceleb1", "-c", "own.yaml", "--device", "cuda"],
        ["-m", "train", "-dvoxceleb1", "--config=own.yaml", "--device=cuda"],
        ["-m", "train", "-e", "exp", "-d", "voxceleb1", "--device", "cuda"],
        ["-m", "train", "-d", "a_task_of_the_user", "--device", "cuda"],
    ],
)
def test_what_is_given_stays(given: list[str]) -> None:
    assert complete_arguments(given) == given


def test_own_files_and_unknown_paths() -> None:
    config = {"text": {"vocab": "conf:vocab/phones.txt"}, "list": ["conf:a", 3], "root": "???"}
    assert resolve_own_files(config) == {
        "text": {"vocab": str(CONF / "vocab/phones.txt")},
        "list": [str(CONF / "a"), 3],
        "root": "???",
    }
    assert list(missing_paths(config)) == ["config.root"]


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


DATA = "config.downstream_expert.datarc.file_path"


def check(*arguments: object) -> None:
    check_arguments(get_parser().parse_known_args([*map(str, arguments)])[0])


def given(tmp_path: Path) -> list[object]:
    new = ["-m", "train", "-u", "hubert", "-d", "fluent_commands", "-p", "exp/x"]
    return [*new, "-o", f"{DATA}={tmp_path}"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["-d", "fluent_comands"], "no such task; choose from .*fluent_commands"),
        (["-c", "absent.yaml"], "No such file or directory: 'absent.yaml'"),
        (["-c", __file__], f"-c {__file__}: not a YAML file"),
        (["-e", "absent"], "No such file or directory: 'absent'"),
        (["-e", __file__], "not a checkpoint of s3prl"),
        (["-o", "config.runner.total_steps"], "-o config.runner.total_steps: write config.a.b=c"),
        (["-u", "speechclip_plus", "-k", "exp/absent"], "exp/absent: no such file or directory"),
        (["-u", "speechclip_plus", "-k", __file__], "holds no model"),
        (["-u", "speechclip_plus_encoder", "-k", __file__], "holds no model"),
    ],
)
def test_one_message_about_what_is_wrong(changed: list[str], message: str, tmp_path: Path) -> None:
    check(*given(tmp_path))
    with pytest.raises((OSError, ValueError), match=message):
        check(*given(tmp_path), *changed)


def test_a_new_experiment_needs_a_task_and_an_upstream(tmp_path: Path) -> None:
    for wanted, others in (("-u", ["-d", "fluent_commands"]), ("-d", ["-u", "fbank"])):
        with pytest.raises(ValueError, match=f"{wanted} is missing"):
            check("-m", "train", *others)


def test_an_experiment_to_go_on_with(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no checkpoint states-\*.ckpt in it$"):
        check("-m", "train", "-e", tmp_path)
    (tmp_path / "dev-best.ckpt").write_bytes(b"\x80\x02")  # as torch.save began before its zips
    with pytest.raises(FileNotFoundError, match="name one of these files: dev-best.ckpt"):
        check("-m", "train", "-e", tmp_path)
    check("-m", "evaluate", "-e", tmp_path / "dev-best.ckpt")
    (tmp_path / "states-5.ckpt").touch()
    check("-m", "train", "-e", tmp_path)
    check("-m", "train", "-a", "-p", tmp_path)


def test_an_upstream_that_s3prl_lacks_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = ModuleType("s3prl.hub")
    hub.hubert = len
    monkeypatch.setattr(run_downstream, "register", lambda: None)
    monkeypatch.setattr(run_downstream, "patch_runner", lambda **_: None)
    monkeypatch.setattr(run_downstream.importlib, "import_module", lambda name: hub)
    arguments = [*map(str, given(tmp_path)), "-u", "wav2vec3"]
    with pytest.raises(SystemExit, match="^run_downstream: error: -u wav2vec3: s3prl has no such"):
        run_downstream.main(arguments)
    with pytest.raises(SystemExit, match="2"):  # argparse's own message
        run_downstream.main(["-m", "trian"])


def test_data_are_named_and_exist(tmp_path: Path) -> None:
    (tmp_path / "lexicon.txt").touch()
    corpus = {"path": str(tmp_path), "lexicon": ["absent.txt"]}
    config = {"downstream_expert": {"corpus": corpus}}
    with pytest.raises(FileNotFoundError, match=r"corpus.lexicon: no file or folder absent.txt"):
        check_data("ctc", config)
    corpus["lexicon"] = [str(tmp_path / "lexicon.txt")]
    check_data("ctc", config)
    corpus["path"] = "???"
    option = "config.downstream_expert.corpus.path=..."
    with pytest.raises(ValueError, match=f'name the data: -o "{option}"'):
        check_data("ctc", config)
