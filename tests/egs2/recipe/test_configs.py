"""Every configuration of the recipe builds the architecture that its name says."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import yaml

from espnet_plugin.tasks.speechclip import SpeechCLIPTask
from tests.tiny import tiny_clip_config, tiny_hubert_dir, tiny_w2v_bert_dir, tiny_whisper_dir

CONF = Path(__file__).parents[3] / "egs2" / "speechclip_plus" / "conf"
ENCODERS = {
    "huggingface": tiny_hubert_dir,
    "whisper": tiny_whisper_dir,
    "w2v_bert": tiny_w2v_bert_dir,
}
CONFIGS = sorted((CONF / "tuning").glob("*.yaml"))


@pytest.fixture(scope="module")
def model_options(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What speechclip.sh passes beside the configuration, with tiny frozen models."""
    directory = tmp_path_factory.mktemp("teachers")
    tokens = directory / "tokens.tsv"
    tokens.write_text("id\ttoken\tcount\n" + "".join(f"{n}\tx\t1\n" for n in range(320, 340)))
    return [
        *["--clip_conf", f"model={tiny_clip_config(directory)}"],
        *["--clip_conf", "pretrained=random"],
        *["--keyword_vocabulary", str(tokens)],
        *["--output_dir", str(directory), "--ngpu", "0"],
    ]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_configuration_builds(path: Path, model_options: list[str], tmp_path: Path) -> None:
    parser = SpeechCLIPTask.get_parser()
    word = yaml.safe_load(path.read_text()).get("speech_encoder", "huggingface")
    encoder = ["--speech_encoder_conf", f"model={ENCODERS[word](tmp_path)}"]
    args = parser.parse_args(["--config", str(path), *model_options, *encoder])
    model = SpeechCLIPTask.build_model(args).speechclip
    architecture = re.sub("^[a-z0-9]+_(base_|large_|babel_)?", "", path.stem)
    assert (model.parallel_projection is not None) == (not architecture.startswith("cascaded"))
    extractor = type(model.keyword_branch and model.keyword_branch.extractor).__name__
    expected = "CifKeywordExtractor" if "plus" in architecture else "ClsKeywordExtractor"
    assert extractor == ("NoneType" if architecture == "parallel" else expected)
    # after the last entry the learning rate falls to the optimizer's own, which must be tiny
    assert args.optim_conf["lr"] <= 1e-8
    assert args.iterator_type == "task"
    ((phase, measure, mode),) = args.best_model_criterion
    branch = "cascaded" if model.parallel_projection is None else "parallel"
    measures = [f"{branch}_recall_mean_at_{k}" for k in (1, 10)]
    if path.stem.startswith(("mini_", "digits_", "small_")):
        measures = ["recall_mean_at_1"]
    elif path.stem.endswith("_annealed"):
        measures = ["recall_mean_at_10"]  # of both branches, since both are what it is used for
    assert (phase, mode) == ("valid", "max")
    assert measure in measures


def test_all_architectures_have_a_configuration() -> None:
    names = {path.stem for path in CONFIGS}
    papers = ("parallel", "cascaded", "cascaded_plus", "hybrid", "hybrid_plus")
    for architecture in (*papers, "hybrid_plus_annealed"):
        for corpus in ("mini", "flickr8k_base", "flickr8k_large", "spokencoco_large"):
            assert f"{corpus}_{architecture}" in names
    default = CONF / "tuning" / "custom_hybrid_plus.yaml"
    assert (CONF / "train.yaml").resolve() == default.resolve()


@pytest.mark.parametrize("name", ["custom_hybrid_plus", "small_hybrid_plus_annealed"])
def test_a_corpus_of_any_size_has_the_updates_of_its_schedule(name: str) -> None:
    config = yaml.safe_load((CONF / "tuning" / f"{name}.yaml").read_text())
    _, warm, last = config["scheduler_conf"]["warmup_steps_list"]
    assert config["num_iters_per_epoch"] * config["max_epoch"] == last == 10 * warm
    assert config["keyword_extractor_conf"]["scaling_steps"] in (warm, last)
    temperature = config["quantizer_conf"]["temperature"]
    assert not isinstance(temperature, list) or temperature[2] == last


@pytest.mark.parametrize("path", sorted(CONF.glob("tuning/*_annealed.yaml")), ids=lambda p: p.stem)
def test_mixtures_become_one_sub_word(path: Path) -> None:
    """At full size, cosines between CLIP's embeddings deviate by 1 / sqrt(width)."""
    config = yaml.safe_load(path.read_text())
    start, end, _ = config["quantizer_conf"]["temperature"]
    assert start == pytest.approx(5 * end)
    if "clip_conf" in config:
        width = 768 if "ViT-L" in config["clip_conf"]["model"] else 512
        assert end < 0.5 / math.sqrt(width * 2 * math.log(19787 if width == 768 else 8112))
