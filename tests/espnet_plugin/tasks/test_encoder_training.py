"""Encoders of log-mel, and trained parts of encoders, from ESPnet's training to other programs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from espnet_plugin import SpeechCLIP
from espnet_plugin.bin import dump_speech_states, keyword_vocabulary, speechclip_pack
from espnet_plugin.data.frame_store import StoredFrames
from espnet_plugin.data.scp import read_scp
from espnet_plugin.inference.speech_states import read_speech
from espnet_plugin.model.factory import build_speech_encoder
from espnet_plugin.pretrained import load_speechclip
from espnet_plugin.tasks.speechclip import SpeechCLIPTask
from espnet_plugin.train import naming
from s3prl_upstream.expert import UpstreamExpert
from tests.tiny import tiny_hubert_dir, tiny_w2v_bert_dir, tiny_whisper_dir

CONF = Path(__file__).parents[3] / "egs2" / "speechclip_plus" / "conf" / "tuning"
# the configurations for other languages, with encoders of the same layouts
MULTILINGUAL: dict[str, Callable[[Path], Path]] = {
    "mhubert": tiny_hubert_dir,
    "xlsr": partial(tiny_hubert_dir, stable=True, model_class="Wav2Vec2Model"),
    "w2vbert": tiny_w2v_bert_dir,
    "whisper": tiny_whisper_dir,
}
KINDS: dict[str, Callable[[Path], Path]] = {
    "huggingface": tiny_hubert_dir,
    "whisper": tiny_whisper_dir,
    "w2v_bert": tiny_w2v_bert_dir,
}
SPEECH = (0.1 * np.random.RandomState(3).randn(9000)).astype(np.float32)


@pytest.fixture(scope="module")
def train(tiny_corpus, model_arguments, tmp_path_factory):
    """Function of an encoder and its options to an experiment of three updates."""
    made: dict[str, Path] = {}

    def run(word: str, options: dict[str, Any], *more: str) -> Path:
        key = f"{word} {options} {more}"
        if key not in made:
            directory = tmp_path_factory.mktemp("trained")
            conf = {"model": str(KINDS[word](directory)), **options}
            made[key] = directory / "exp"
            SpeechCLIPTask.main(
                cmd=[
                    *(*model_arguments, "--batch_size", "4", "--num_workers", "0", "--seed", "1"),
                    *("--speech_encoder", word, "--speech_encoder_conf", json.dumps(conf)),
                    *("--optim_conf", "lr=0.01", "--log_level", "WARNING", "--max_epoch", "1"),
                    *("--use_tensorboard", "false", "--use_matplotlib", "false"),
                    *(*tiny_corpus.data_arguments("train"), *tiny_corpus.data_arguments("valid")),
                    *("--output_dir", str(made[key]), *more),
                ]
            )
        return made[key]

    return run


def encoder_of(experiment: Path) -> torch.nn.Module:
    """The encoder as it was before the training, but for LoRA's random matrices."""
    return build_speech_encoder(yaml.safe_load((experiment / "config.yaml").read_text()))


@pytest.mark.parametrize("option", ["train_layers", "lora"])
@pytest.mark.parametrize("word", KINDS)
def test_training_changes_and_saves_the_trained_parts_alone(train, word, option) -> None:
    if option == "lora":
        pytest.importorskip("peft")
    experiment = train(word, {option: 1 if option == "train_layers" else {"r": 2}})
    before = encoder_of(experiment)
    saved = torch.load(experiment / "1epoch.pth", weights_only=True)
    prefix = "speechclip.speech_encoder."
    in_encoder = {key.removeprefix(prefix) for key in saved if key.startswith(prefix)}
    assert in_encoder == set(before.trained_names) and in_encoder
    assert not [key for key in saved if key.startswith("speechclip.clip.")]
    model, _ = SpeechCLIPTask.build_model_from_file(
        experiment / "config.yaml", experiment / "1epoch.pth"
    )
    after = model.speechclip.speech_encoder.state_dict()
    changed = {
        name for name, value in before.state_dict().items() if not torch.equal(value, after[name])
    }
    assert changed <= in_encoder and len(changed) > 0.7 * len(in_encoder)


@pytest.mark.parametrize(
    ("name", "from_states"),
    [("mhubert", True), ("xlsr", False), ("w2vbert", False), ("whisper", True)],
)
def test_multilingual_configurations_name_without_captions(
    tiny_corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, from_states: bool
) -> None:
    """Loads the encoder, stores its states, and trains once with naming, from an English text."""
    monkeypatch.setattr(naming, "LISTS", 500)
    monkeypatch.setattr(naming, "STEPS", 5)
    (tmp_path / "text").write_text("a red dog runs\na dog and a cat\n")
    tokens, states = tmp_path / "tokens.tsv", tmp_path / "states"
    model = f"model={MULTILINGUAL[name](tmp_path)}"
    keyword_vocabulary.main(
        [
            *("--vocab_text", str(tmp_path / "text"), "--output", str(tokens)),
            *("--clip_model", str(tiny_corpus.clip_model)),
        ]
    )
    config = ["--config", str(CONF / f"{name}_hybrid_plus_annealed.yaml")]
    speech = "wav.scp,speech,sound"
    if from_states:
        dump_speech_states.main(
            [
                *("--wav_scp", str(tiny_corpus.data / "wav.scp"), "--output_dir", str(states)),
                *("--", *config, "--speech_encoder_conf", model),
            ]
        )
        speech = f"{states}/speech_states.scp,speech_states,frames"
    SpeechCLIPTask.main(
        cmd=[
            *(*config, "--speech_encoder_conf", model, "--keyword_vocabulary", str(tokens)),
            *("--clip_conf", f"model={tiny_corpus.clip_model}"),
            *("--clip_conf", f"pretrained={tiny_corpus.clip_weights}"),
            *("--batch_size", "12", "--accum_grad", "1", "--max_epoch", "1"),
            *("--num_workers", "0", "--use_amp", "false", "--log_level", "WARNING"),
            *("--num_iters_per_epoch", "2"),
            *("--use_tensorboard", "false", "--use_matplotlib", "false"),
            *tiny_corpus.data_arguments("train", speech=speech),
            *tiny_corpus.data_arguments("valid", speech=speech),
            *("--output_dir", str(tmp_path / "exp")),
        ]
    )
    reporter = torch.load(tmp_path / "exp/checkpoint.pth", weights_only=False)["reporter"]
    assert reporter["stats"][1]["train"]["loss_naming"] > 0
    trained = torch.load(tmp_path / "exp/1epoch.pth", weights_only=True)
    assert trained["speechclip.keyword_branch.key_offsets"].abs().max() > 0


def test_the_same_embeddings_in_every_form(train, tmp_path: Path) -> None:
    experiment = train("whisper", {"train_layers": 1})
    model = SpeechCLIP.from_pretrained(experiment, device="cpu")
    expected = model.encode_speech(SPEECH, branch="both")
    packed, exported = tmp_path / "model", tmp_path / "exported"
    speechclip_pack.main(
        [
            *("--train_config", str(experiment / "config.yaml"), "--outpath", str(packed)),
            *("--model_file", str(experiment / "1epoch.pth")),
        ]
    )
    model.save_pretrained(exported)
    for form in (packed, exported):
        again = SpeechCLIP.from_pretrained(form, device="cpu").encode_speech(SPEECH, branch="both")
        assert np.abs(again - expected).max() < 1e-6
    assert not any(
        "decoder" in name for name in load_file(exported / "speech_encoder" / "model.safetensors")
    )
    with torch.no_grad():
        encoder = load_speechclip(exported).speech_encoder
        states = encoder(torch.from_numpy(SPEECH)[None], torch.tensor([9000])).hidden_states
    frozen = encoder_of(experiment).backend.model.state_dict()
    ours = encoder.backend.model.state_dict()
    assert not all(torch.equal(value, ours[name]) for name, value in frozen.items())
    expert = UpstreamExpert(packed).eval()
    heard = expert([torch.from_numpy(SPEECH)])["hidden_states"]
    assert not any(parameter.requires_grad for parameter in expert.parameters())
    for layer in range(3):
        torch.testing.assert_close(heard[layer], states[:, layer])


def test_resuming_goes_on_with_the_trained_parts(train) -> None:
    whole = train("huggingface", {"train_layers": 1}, "--max_epoch", "2")
    first = train("huggingface", {"train_layers": 1})
    config = yaml.safe_load((first / "config.yaml").read_text())
    SpeechCLIPTask.main(args=argparse.Namespace(**(config | {"max_epoch": 2, "resume": True})))
    one, two = (torch.load(path / "2epoch.pth", weights_only=True) for path in (whole, first))
    assert one.keys() == two.keys()
    assert all(torch.equal(value, two[key]) for key, value in one.items())


def test_a_checkpoint_without_the_trained_parts_does_not_pass_for_one(train) -> None:
    experiment, frozen = train("whisper", {"train_layers": 1}), train("whisper", {})
    with pytest.raises(ValueError, match=r"speech_encoder.*is missing"):
        load_speechclip(frozen / "1epoch.pth", config=experiment / "config.yaml")


@pytest.mark.parametrize("option", [{"train_layers": 1}, {"lora": {"r": 2}}])
def test_states_of_a_trained_encoder_cannot_be_stored(tiny_corpus, tmp_path, option) -> None:
    (name,) = option
    if name == "lora":
        pytest.importorskip("peft")
    conf = {"model": str(tiny_corpus.speech_encoder), **option}
    command = ["--wav_scp", str(tiny_corpus.data / "wav.scp"), "--output_dir", str(tmp_path)]
    with pytest.raises(SystemExit) as stopped:
        dump_speech_states.main([*command, "--speech_encoder_conf", json.dumps(conf)])
    assert "hidden states cannot be stored: train from recordings" in str(stopped.value.code)


@pytest.mark.parametrize("word", ["whisper", "w2v_bert"])
def test_stored_states_are_those_of_the_recordings(tiny_corpus, tmp_path, word) -> None:
    conf = {"model": str(KINDS[word](tmp_path))}
    output = tmp_path / "states"
    dump_speech_states.main(
        [
            *("--wav_scp", str(tiny_corpus.data / "wav.scp"), "--output_dir", str(output)),
            *("--speech_encoder", word, "--speech_encoder_conf", json.dumps(conf)),
        ]
    )
    stored = StoredFrames(output / "speech_states.scp")
    encoder = build_speech_encoder({"speech_encoder": word, "speech_encoder_conf": conf})
    for key, path in read_scp(tiny_corpus.data / "wav.scp").items():
        speech = torch.from_numpy(read_speech(path, 16000))[None]
        states = encoder(speech, torch.tensor([speech.shape[1]]))
        expected = states.hidden_states[0].transpose(0, 1)
        found = torch.from_numpy(stored.read(key)["frames"]).float()
        torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-2)
