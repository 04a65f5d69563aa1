"""The task with ESPnet's real trainer, on tiny models."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from espnet2.torch_utils.load_pretrained_model import load_pretrained_model

from espnet_plugin.model.factory import COMPONENTS
from espnet_plugin.tasks.speechclip import SpeechCLIPTask
from espnet_plugin.train.espnet_model import ESPnetSpeechCLIPModel
from espnet_plugin.utils.errors import DataError

COMMON = [
    "--batch_size",
    "4",
    "--num_workers",
    "0",
    "--use_tensorboard",
    "false",
    "--use_matplotlib",
    "false",
    "--optim_conf",
    "lr=0.01",
    "--log_level",
    "WARNING",
]


def load_checkpoint(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, map_location="cpu", weights_only=True)


def assert_same(first: Path, second: Path) -> None:
    """The weights after two epochs, to the last bit."""
    one, two = (load_checkpoint(path / "2epoch.pth") for path in (first, second))
    assert one.keys() == two.keys()
    for key, value in one.items():
        assert torch.equal(value, two[key]), key


def train(corpus, model_arguments, output: Path, *more: str) -> Path:
    SpeechCLIPTask.main(
        cmd=[
            *COMMON,
            *model_arguments,
            *corpus.data_arguments("train"),
            *corpus.data_arguments("valid"),
            "--output_dir",
            str(output),
            *more,
        ]
    )
    return output


@pytest.fixture(scope="module")
def experiment(tiny_corpus, model_arguments, tmp_path_factory) -> Path:
    """Two epochs of three updates in one go."""
    return train(
        tiny_corpus, model_arguments, tmp_path_factory.mktemp("exp") / "a", "--max_epoch", "2"
    )


def parsed(corpus, model_arguments, *more: str) -> argparse.Namespace:
    return SpeechCLIPTask.get_parser().parse_args([*COMMON, *model_arguments, *more])


def test_training_writes_checkpoints_without_frozen_weights(experiment: Path) -> None:
    state = load_checkpoint(experiment / "2epoch.pth")
    assert not [key for key in state if "clip." in key.split("speechclip.")[-1][:5]]
    assert not [key for key in state if "speech_encoder" in key]
    assert "speechclip.layer_weighting.weights" in state
    assert state["num_updates"] == 6
    assert (experiment / "valid.recall_mean_at_1.best.pth").exists()


def test_config_holds_the_vocabulary_as_ids(experiment: Path) -> None:
    config = yaml.safe_load((experiment / "config.yaml").read_text())
    assert config["keyword_vocabulary"][:3] == [320, 736, 1929]


def test_reporter_has_recall_of_both_branches(experiment: Path) -> None:
    reporter = torch.load(experiment / "checkpoint.pth", weights_only=False)["reporter"]
    valid = reporter["stats"][2]["valid"]
    for branch in ("parallel", "cascaded"):
        for direction in ("speech_to_image", "image_to_speech"):
            assert 0 <= valid[f"{branch}_{direction}_recall_at_1"] <= 1
            assert valid[f"{branch}_{direction}_recall_at_10"] == 1  # only six images
    means = [valid[f"{branch}_recall_mean_at_1"] for branch in ("parallel", "cascaded")]
    assert valid["recall_mean_at_1"] == pytest.approx(np.mean(means))
    for name in ("loss", "loss_quantity", "keywords", "code_perplexity", "accuracy_parallel"):
        assert np.isfinite(valid[name])


def test_resumed_training_equals_uninterrupted(
    experiment: Path, tiny_corpus, model_arguments, tmp_path: Path
) -> None:
    output = train(tiny_corpus, model_arguments, tmp_path / "b", "--max_epoch", "1")
    train(tiny_corpus, model_arguments, output, "--max_epoch", "2", "--resume", "true")
    assert_same(experiment, output)


@pytest.mark.parametrize(
    ("options", "updates"),
    [
        (("--model_conf", "{bank_weight: 0.5}"), 6),
        (("--accum_grad", "2"), 2),  # the third batch of an epoch is left out
    ],
)
def test_nothing_that_a_checkpoint_lacks_is_carried_on(
    options: tuple[str, str], updates: int, tiny_corpus, model_arguments, tmp_path: Path
) -> None:
    arguments = (tiny_corpus, [*model_arguments, *options])
    whole = train(*arguments, tmp_path / "whole", "--max_epoch", "2")
    resumed = train(*arguments, tmp_path / "resumed", "--max_epoch", "1")
    train(*arguments, resumed, "--max_epoch", "2", "--resume", "true")
    assert load_checkpoint(whole / "2epoch.pth")["num_updates"] == updates
    assert_same(whole, resumed)


def test_the_bank_needs_stored_pictures(tiny_corpus, model_arguments, tmp_path: Path) -> None:
    arguments = [
        entry.replace("image_feat.scp,image,npy", "image.scp,image,text")
        for entry in tiny_corpus.data_arguments("train")
    ]
    command = [*COMMON, *model_arguments, *arguments, *tiny_corpus.data_arguments("valid")]
    command += ["--model_conf", "bank_weight=0.5", "--output_dir", str(tmp_path), "--max_epoch"]
    with pytest.raises(DataError, match="image_feat.scp,image,npy"):
        SpeechCLIPTask.main(cmd=[*command, "1"])


def test_init_param_starts_from_a_checkpoint(
    experiment: Path, tiny_corpus, model_arguments, tmp_path: Path
) -> None:
    output = train(
        tiny_corpus,
        model_arguments,
        tmp_path / "c",
        "--max_epoch",
        "1",
        "--optim_conf",
        "lr=0.0",
        "--init_param",
        str(experiment / "2epoch.pth"),
    )
    before, after = (
        load_checkpoint(path) for path in (experiment / "2epoch.pth", output / "1epoch.pth")
    )
    key = "speechclip.attention.attention.in_proj_weight"
    assert torch.equal(before[key], after[key])
    assert after["num_updates"] == before["num_updates"] + 3


def test_fine_tuning_starts_at_update_0_without_the_counter(
    experiment: Path, tiny_corpus, model_arguments
) -> None:
    """As the recipe's --pretrained_model hands it on."""
    model = SpeechCLIPTask.build_model(parsed(tiny_corpus, model_arguments))
    checkpoint = experiment / "2epoch.pth"
    load_pretrained_model(f"{checkpoint}:::num_updates", model, ignore_init_mismatch=False)
    state, trained = model.state_dict(), load_checkpoint(checkpoint)
    assert trained.pop("num_updates") == 6
    assert state.pop("num_updates") == 0
    assert state.keys() == trained.keys()
    assert all(torch.equal(state[key], value) for key, value in trained.items())


def test_averaged_checkpoint_loads(tiny_corpus, model_arguments, tmp_path: Path) -> None:
    output = train(
        tiny_corpus, model_arguments, tmp_path / "e", "--max_epoch", "2", "--keep_nbest_models", "2"
    )
    averaged = output / "valid.recall_mean_at_1.ave_2best.pth"
    model, _ = SpeechCLIPTask.build_model_from_file(output / "config.yaml", averaged)
    assert isinstance(model, ESPnetSpeechCLIPModel)
    assert model.num_updates == 4.5  # the mean of 3 and 6
    states = [load_checkpoint(output / f"{epoch}epoch.pth") for epoch in (1, 2)]
    key = "speechclip.attention.attention.in_proj_weight"
    mean = (states[0][key] + states[1][key]) / 2
    assert torch.allclose(model.state_dict()[key], mean)


def test_accumulation_counts_updates_and_mixed_precision_trains(
    tiny_corpus, model_arguments, tmp_path: Path
) -> None:
    output = train(
        tiny_corpus,
        model_arguments,
        tmp_path / "d",
        "--max_epoch",
        "1",
        "--accum_grad",
        "3",
        "--use_amp",
        "true",
    )
    assert load_checkpoint(output / "1epoch.pth")["num_updates"] == 1


def test_raw_pictures_and_captions_train(tiny_corpus, model_arguments, tmp_path: Path) -> None:
    data = tiny_corpus.data
    pictures = dict(line.split() for line in (data / "image.scp").read_text().splitlines())
    (tmp_path / "image_path.scp").write_text(
        "".join(f"{u} {pictures[i]}\n" for u, i in sorted(tiny_corpus.utt2image.items()))
    )
    arguments = []
    for part in ("train", "valid"):
        for entry in tiny_corpus.data_arguments(part):
            raw = f"{tmp_path}/image_path.scp,image,text"
            arguments.append(raw if entry.endswith("image,npy") else entry)
        arguments += [f"--{part}_data_path_and_name_and_type", f"{data}/text,text,text"]
    SpeechCLIPTask.main(
        cmd=[
            *(*COMMON, *model_arguments, *arguments, "--max_epoch", "1"),
            *("--output_dir", str(tmp_path / "raw")),
            *("--keyword_extractor_conf", "{target: subwords}"),
        ]
    )
    reporter = torch.load(tmp_path / "raw" / "checkpoint.pth", weights_only=False)["reporter"]
    # captions of two and three sub-words, one of each per image
    assert reporter["stats"][1]["valid"]["target_keywords"] == pytest.approx(2.5)


def test_statistics_stage_needs_no_model(tiny_corpus, model_arguments, tmp_path: Path) -> None:
    train(
        tiny_corpus,
        model_arguments,
        tmp_path / "stats",
        *("--collect_stats", "true", "--use_preprocessor", "false"),
        *("--train_data_path_and_name_and_type", f"{tiny_corpus.data}/text,text,text"),
    )
    shapes = (tmp_path / "stats" / "train" / "speech_shape").read_text().splitlines()
    assert "img0_0 3200" in shapes


def train_in_two_processes(command: list[str], output: Path) -> Path:
    root = Path(__file__).resolve().parents[3]
    rendezvous = output.with_name("rendezvous")
    processes = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "espnet_plugin.bin.speechclip_train", *command),
                *("--ngpu", "0", "--dist_backend", "gloo", "--dist_world_size", "2"),
                *("--dist_init_method", f"file://{rendezvous}", "--dist_rank", str(rank)),
                *("--output_dir", str(output)),
            ],
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)
    return output


@pytest.mark.slow
@pytest.mark.parametrize("extractor", ["none", "cif"])
def test_two_processes_train_as_one(
    tiny_corpus, model_arguments, tmp_path: Path, extractor: str
) -> None:
    arguments = model_arguments
    if extractor == "none":
        position = arguments.index("--keyword_extractor_conf")
        arguments = [*arguments[:position], *arguments[position + 2 :]]
        arguments += ["--keyword_extractor", "none"]
    arguments = [*arguments, "--max_epoch", "1", "--grad_clip", "1000", "--optim", "sgd"]
    data = [*tiny_corpus.data_arguments("train"), *tiny_corpus.data_arguments("valid")]
    one = train(tiny_corpus, arguments, tmp_path / "one")
    two = train_in_two_processes([*COMMON, *data, *arguments], tmp_path / "two")
    states = [load_checkpoint(path / "1epoch.pth") for path in (one, two)]
    assert states[1]["num_updates"] == 3
    for key, value in states[0].items():
        assert torch.allclose(value, states[1][key], atol=1e-5), key
    reports = [
        torch.load(path / "checkpoint.pth", weights_only=False)["reporter"]["stats"][1]["valid"]
        for path in (one, two)
    ]
    for name in ("loss", "recall_mean_at_1", "parallel_image_to_speech_recall_at_1"):
        assert reports[0][name] == pytest.approx(reports[1][name], abs=1e-4)


def test_dropouts_of_the_encoder_train_from_recordings(
    tiny_corpus, model_arguments, tmp_path: Path
) -> None:
    """As the recipe passes them on: --speechclip_args follows the encoder's own options."""
    more = ["--speech_encoder_conf", "dropout_in_training=true"]
    more += ["--speech_encoder_conf", "dropout=0.5", "--max_epoch", "1"]
    output = train(tiny_corpus, model_arguments, tmp_path / "f", *more)
    conf = yaml.safe_load((output / "config.yaml").read_text())["speech_encoder_conf"]
    assert conf == {
        "model": str(tiny_corpus.speech_encoder),
        "dropout_in_training": True,
        "dropout": 0.5,
    }
    model, _ = SpeechCLIPTask.build_model_from_file(
        output / "config.yaml", output / "valid.recall_mean_at_1.best.pth"
    )
    encoder = model.train().speechclip.speech_encoder
    speech, lengths = torch.randn(1, 4000), torch.tensor([4000])
    first, second = (encoder(speech, lengths).hidden_states for _ in range(2))
    assert not torch.equal(first, second)


def test_dropouts_of_the_encoder_need_recordings(tiny_corpus, model_arguments) -> None:
    option = ["--speech_encoder_conf", "dropout_in_training=true"]
    states = tiny_corpus.data_arguments("train", speech="states.scp,speech_states,frames")
    args = parsed(tiny_corpus, model_arguments, *option, *states)
    with pytest.raises(ValueError, match="--dump_speech_states false"):
        SpeechCLIPTask.build_model(args)
    speech = tiny_corpus.data_arguments("train")
    args = parsed(tiny_corpus, model_arguments, *option, *speech)
    assert SpeechCLIPTask.build_model(args).speechclip.speech_encoder.dropout_in_training


def test_waveforms_are_normalised_once_before_the_crop(tiny_corpus, model_arguments) -> None:
    more = ["--speech_encoder_conf", "normalize_waveform=true", "--normalize_before_crop", "true"]
    args = parsed(tiny_corpus, model_arguments, *more, "--crop_seconds", "0.1")
    model = SpeechCLIPTask.build_model(args).eval()
    preprocess = SpeechCLIPTask.build_preprocess_fn(args, train=False)
    speech = (0.1 * np.random.RandomState(0).randn(4000) + 0.2).astype(np.float32)
    batch = torch.from_numpy(preprocess("u", {"speech": speech})["speech"])[None]
    lengths = torch.tensor([4000])
    collate = SpeechCLIPTask.build_collate_fn(args, False)
    collated = collate([("u", {"speech": batch[0].numpy()})])[1]["speech"]
    actual = model.speechclip.speech_encoder.hidden_states(collated)
    # inference has the encoder alone, which normalises the whole recording itself
    expected = model.speechclip.speech_encoder(torch.from_numpy(speech)[None], lengths)
    torch.testing.assert_close(actual.hidden_states, expected.hidden_states, rtol=1e-4, atol=1e-5)
    cropped = SpeechCLIPTask.build_preprocess_fn(args, train=True)("u", {"speech": speech})
    assert len(cropped["speech"]) == 1600
    assert np.isin(cropped["speech"], batch.numpy()).all()


def test_normalising_first_needs_an_encoder_that_wants_it(tiny_corpus, model_arguments) -> None:
    args = parsed(tiny_corpus, model_arguments, "--normalize_before_crop", "true")
    with pytest.raises(ValueError, match="normalize_waveform: true"):
        SpeechCLIPTask.build_model(args)


def test_stored_states_are_cropped_to_the_encoders_frames(tiny_corpus, model_arguments) -> None:
    states = tiny_corpus.data_arguments("train", speech="states.scp,speech_states,frames")
    args = parsed(tiny_corpus, model_arguments, *states, "--crop_seconds", "0.1")
    SpeechCLIPTask.build_model(args)
    assert args.crop_frames == 4  # floor((1600 - 400) / 320) + 1
    stored = {"speech_states": np.array([0, 20])}
    preprocess = SpeechCLIPTask.build_preprocess_fn(args, train=True)
    first, last = preprocess("u", stored)["speech_states"]
    assert (last - first, 0 <= first, last <= 20) == (4, True, True)
    args = parsed(tiny_corpus, model_arguments, "--crop_seconds", "0.02")
    with pytest.raises(ValueError, match="320 samples are fewer .* 400"):
        SpeechCLIPTask.build_model(args)


@pytest.mark.parametrize(
    "conf, needed", [("{}", False), ("{target: duration}", False), ("{target: subwords}", True)]
)
def test_captions_are_read_when_subwords_are_the_target(
    tiny_corpus, model_arguments, conf: str, needed: bool
) -> None:
    args = parsed(tiny_corpus, model_arguments, "--keyword_extractor_conf", conf)
    for train_part in (True, False):
        preprocess = SpeechCLIPTask.build_preprocess_fn(args, train=train_part)
        assert ("text" in preprocess("u", {"text": "a red dog"})) == needed


def test_chunks_are_refused(tiny_corpus, model_arguments, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Use iterator_type task"):
        train(tiny_corpus, model_arguments, tmp_path / "chunks", "--iterator_type", "chunk")


def test_an_objective_that_is_gone_opens_but_does_not_train(tiny_corpus, model_arguments) -> None:
    """How it opens is in test_factory.py."""
    args = parsed(tiny_corpus, model_arguments, "--model_conf", "repeat_weight=0.1")
    with pytest.raises(ValueError, match="model_conf has no option repeat_weight"):
        SpeechCLIPTask.build_model(args)


def test_data_parallel_is_refused(tiny_corpus, model_arguments) -> None:
    args = parsed(tiny_corpus, model_arguments, "--ngpu", "2")
    args.distributed = False
    with pytest.raises(ValueError, match="multiprocessing_distributed"):
        SpeechCLIPTask.build_model(args)


@pytest.mark.parametrize(
    ("extractor", "option"), [("cif", "max_keywords"), ("cls", "num_keywords")]
)
def test_more_keywords_than_the_text_tower_reads_are_refused(
    tiny_corpus, model_arguments, extractor: str, option: str
) -> None:
    """Two of its 77 positions are for the start and the end token."""
    args = parsed(tiny_corpus, model_arguments, "--keyword_extractor", extractor)
    args.keyword_extractor_conf = {option: 75}
    SpeechCLIPTask.build_model(args)
    args.keyword_extractor_conf = {option: 76}
    with pytest.raises(ValueError, match=rf"at most 75 keywords, got 76; .*{option}.* to 75"):
        SpeechCLIPTask.build_model(args)


def test_printed_config_is_usable(tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit):
        SpeechCLIPTask.main(cmd=["--print_config"])
    path = tmp_path / "printed.yaml"
    path.write_text(capsys.readouterr().out)
    args = SpeechCLIPTask.get_parser().parse_args(["--config", str(path)])
    assert args.keyword_extractor == "cif"
    assert args.iterator_type == "task"
    assert args.keyword_extractor_conf["frames_per_keyword"] == 20
    assert "compatibility" not in args.keyword_extractor_conf
    assert args.speech_encoder_conf["frame_length_rule"] == "exact"
    assert args.keyword_norm_conf["per_slot"] is True


def test_options_of_one_class_do_not_reach_another(monkeypatch) -> None:
    """ESPnet3 starts from these defaults, also for a class that has other options."""
    monkeypatch.setattr(sys, "argv", ["train"])
    config = SpeechCLIPTask.get_default_config()
    filled = [key for key in COMPONENTS if config[f"{key}_conf"]]
    assert filled == ["speech_encoder"]  # with its model


@pytest.mark.parametrize("key", COMPONENTS)
def test_names_are_ours_or_classes_that_can_be_imported(key: str, capsys) -> None:
    parser = SpeechCLIPTask.get_parser()
    for name in COMPONENTS[key]:
        expected = None if name == "none" else name
        assert getattr(parser.parse_args([f"--{key}", name.upper()]), key) == expected
    own = f"{__name__}:TestClass"
    assert getattr(parser.parse_args([f"--{key}", own]), key) == own
    for name, message in (("quick", "choose from"), ("no_module:X", "cannot be imported")):
        with pytest.raises(SystemExit):
            parser.parse_args([f"--{key}", name])
        assert f"{key}: " in (error := capsys.readouterr().err) and message in error


class TestClass:
    """A user's class."""

    __test__ = False


def test_an_update_counts_and_keeps_temperatures_in_bounds(tiny_corpus, model_arguments) -> None:
    args = parsed(tiny_corpus, model_arguments, "--quantizer_conf", "temperature=learned")
    model = SpeechCLIPTask.build_model(args)
    (optimizer,) = SpeechCLIPTask.build_optimizers(args, model)
    scale, temperature = model.loss.log_scale, model.speechclip.keyword_branch.quantizer.temperature
    scale.data.fill_(99.0)
    temperature.data.fill_(-1.0)
    scale.grad, temperature.grad = torch.zeros(2)
    optimizer.step()
    assert model.num_updates == 1
    assert model.loss.scale.item() == pytest.approx(100.0)
    assert temperature.item() == pytest.approx(0.001)


def test_weight_decay_spares_vectors_and_temperatures(tiny_corpus, model_arguments) -> None:
    args = parsed(
        tiny_corpus,
        model_arguments,
        "--optim",
        "adamw",
        "--optim_conf",
        "weight_decay=0.1",
        "--exclude_weight_decay",
        "true",
    )
    model = SpeechCLIPTask.build_model(args)
    (optimizer,) = SpeechCLIPTask.build_optimizers(args, model)
    decayed, spared = optimizer.param_groups
    assert decayed["weight_decay"] == 0.1 and spared["weight_decay"] == 0
    assert all(p.dim() >= 2 for p in decayed["params"])
    grouped = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert grouped == {id(p) for p in model.parameters() if p.requires_grad}


def test_batches_are_shuffled_uniformly_unless_sorting_is_asked_for() -> None:
    assert SpeechCLIPTask.get_parser().parse_args([]).sort_window == 1
