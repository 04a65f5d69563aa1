"""What the recipe's scripts ask beside their stages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from espnet_plugin.bin.recipe import main


def answers(capsys: pytest.CaptureFixture, *options: str) -> dict[str, str]:
    main(["options", *options])
    return dict(line.split("=", 1) for line in capsys.readouterr().out.splitlines())


def test_what_follows_from_a_configuration(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(
        "speech_encoder_conf: {model: a/b, normalize_waveform: false}\n"
        "best_model_criterion:\n-   - valid\n    - loss\n    - min\n"
    )
    found = answers(capsys, "--config", str(path), "--clip_model", "mine=1.json", "--stages", "1")
    assert found["speech_encoder"] == "huggingface" and found["upstream_name"] == "a/b"
    assert found["normalize_waveform"] == "False" and found["upstream_checkpoint"] == ""
    assert (found["clip_model"], found["clip_pretrained"]) == ("mine=1.json", "openai")
    assert found["best_model"] == "valid.loss.ave.pth"
    given = answers(capsys, "--config", str(path), "--speech_upstream", "s3prl:c:d.pt")
    assert [given[k] for k in ("speech_encoder", "upstream_name", "upstream_checkpoint")] == [
        *("s3prl", "c", "d.pt")
    ]
    without = answers(capsys, "--config", "", "--model", str(path))
    assert without["best_model"] == "valid.recall_mean_at_1.ave.pth"
    assert without["model"] == str(path)
    path.write_text("a: [")
    with pytest.raises(SystemExit, match=r"^recipe options: error: .*x\.yaml: not a YAML file"):
        main(["options", "--config", str(path)])


def test_only_the_teachers_of_the_call_are_its_own(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    named = "speech_encoder: s3prl, speech_encoder_conf: {model: a}, clip_conf: {model: c}"
    path.write_text(f"{{{named}}}")
    main(["teachers", str(path), "s3prl", "a", "", "c"])
    with pytest.raises(SystemExit):
        main(["teachers", str(path), "s3prl", "a", "x.pt", "c"])
    path.write_text(f"{{{named}, loss: os:exit}}")
    with pytest.raises(SystemExit):
        main(["teachers", str(path), "s3prl", "a", "", "c"])


CONFIG = """
speech_encoder: huggingface
clip_conf: {model: absent.json, pretrained: random}
model_conf: {naming_weight: 1.0}
"""


def test_a_training_is_refused_before_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(CONFIG)

    monkeypatch.setattr("espnet_plugin.tasks.upstream.require_upstream", lambda *_, **__: None)

    def run(*options: str, flags: Sequence[str] = (), upstream: str = "", last: str = "8") -> None:
        given = ("--config", str(path), "--speech_upstream", upstream, "--stages", "7", last)
        clip = ("--clip_model", "absent.json", "--clip_pretrained", "random")
        main(["options", *given, *clip, *flags, "--", *options])

    def refused(*options: str, **given: Any) -> str:
        with pytest.raises(SystemExit, match="^recipe options: error: ") as ended:
            run(*options, **given)
        return str(ended.value)

    run()
    assert refused("--batch_sise", "3").endswith("--batch_sise: did you mean --batch_size?")
    said = refused(flags=["--no_captions"])
    assert "has no captions: add --vocab_text FILE" in said
    run("--keyword_extractor", "none", flags=["--no_captions"])
    own = ("--attention", "torch.nn:Identity")
    assert "the attention 'torch.nn:Identity', which may run code: stage 8" in refused(*own)
    run(*own, flags=["--trust_remote_code"])
    run(*own, last="7")
    run(upstream="s3prl:mine")  # named by the call itself
    assert "without --trust_remote_code true" in refused(*own, upstream="s3prl:mine")
    assert "GPUs here for PyTorch: " in refused(flags=["--wanted_gpus", "99"])
