from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from s3prl_upstream.run_downstream import get_parser
from s3prl_upstream.runner_checks import check_arguments, read_config, upstream_names

DATA = "config.downstream_expert.datarc.file_path"


def check(*arguments: object) -> None:
    check_arguments(get_parser().parse_known_args([*map(str, arguments)])[0])


def given(tmp_path: Path) -> list[object]:
    new = ["-m", "train", "-u", "hubert", "-d", "fluent_commands", "-p", "exp/x"]
    return [*new, "-o", f"{DATA}={tmp_path}"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["-m", "trian"], "-m trian: it is train, evaluate, inference"),
        (["-d", "fluent_comands"], "no such task; do you mean fluent_commands, "),
        (["-d", "xyz"], "no such task; it has .*asr.*voxceleb1"),
        (["-u", "speechclip"], "-u speechclip: s3prl has no such upstream; do you mean speech"),
        (["-u", "wav2vec3"], "no such upstream; do you mean wav2vec, wav2vec2"),
        (["-c", "absent.yaml"], "-c absent.yaml: no such file"),
        (["-c", "."], "-c .: a folder, not a file"),
        (["-c", __file__], "no YAML file"),
        (["-e", "absent"], "-e absent: no such file"),
        (["-e", __file__], "no checkpoint of s3prl's, or not all of one"),
        (["-o", f"{DATA}=absent/corpus"], f"{DATA}: there is no file or folder absent/corpus; say"),
        (["-o", "config.runner.total_steps=3"], f'say where the data are: -o "{DATA}=..."'),
        (["-o", "config.runner.total_steps"], "-o config.runner.total_steps: it is config.a.b=c"),
        (["-u", "speechclip_plus", "-k", "exp/absent"], "exp/absent: no such file or directory"),
        (["-u", "speechclip_plus", "-k", __file__], "holds no model"),
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


def test_data_of_the_users_own_configuration_and_lists_of_files(tmp_path: Path) -> None:
    (tmp_path / "lexicon.txt").touch()
    config = tmp_path / "own.yaml"
    corpus = "config.downstream_expert.corpus"
    config.write_text(f"downstream_expert: {{corpus: {{path: {tmp_path}, lexicon: [absent.txt]}}}}")
    asked = ("-m", "train", "-u", "fbank", "-d", "ctc", "-c", config, "-p", "exp/x")
    with pytest.raises(FileNotFoundError, match=f"{corpus}.lexicon: there is no .* absent.txt"):
        check(*asked)
    lexicon = f"{corpus}.lexicon=['{tmp_path}/lexicon.txt']"
    check(*asked, "-o", f"{lexicon},,config.runner.total_steps=7,,args.seed=3")
    parsed = get_parser().parse_known_args([*map(str, asked), "-o", "config.runner.total_steps=7"])
    assert read_config(parsed[0])["runner"] == {"total_steps": 7}


def test_names_of_upstreams_are_those_that_the_hub_has() -> None:
    from espnet_plugin.speechclip.backends.s3prl import upstream_hub

    hub = upstream_hub()
    has = {name for name in hub.options() if getattr(hub, name).__module__.startswith("s3prl.")}
    named = set(upstream_names())
    assert {name for name in has if name.islower() and not name.startswith("load_")} <= named
    assert "speechclip_plus" in named


def test_nothing_slow_is_imported_before(tmp_path: Path) -> None:
    code = (
        "import sys; from s3prl_upstream.run_downstream import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print(sorted({'torch', 's3prl', 'numpy'} & set(sys.modules)))"
    )
    wrong = ["-o", f"{DATA}=absent"]
    call = [sys.executable, "-c", code, *map(str, given(tmp_path)), *wrong]
    done = subprocess.run(call, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("[]\n", 1)
    assert done.stderr.startswith(f"run_downstream: error: {DATA}: there is no file or folder")
