"""Converted checkpoints compute what the reference computed with the checkpoint itself."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor

from espnet_plugin.model.model import SpeechCLIPModel
from espnet_plugin.model.output import SpeechOutput
from espnet_plugin.pretrained.convert.converter import convert_checkpoint
from espnet_plugin.pretrained.storage import load_speechclip
from espnet_plugin.teachers.speech_encoder import SpeechStates
from espnet_plugin.utils.compatibility import ReferenceCompatibility
from tests.parity.fixtures import DIRECTORY, assert_close, cases, fixture_files
from tests.parity.models import full_table, normalizes_waveform
from tests.released import write_lightning

MODEL_TOLERANCE = {"rtol": 1e-4, "atol": 2e-5}
OUTPUTS = {
    "keywords_before_bn": lambda output: output.keywords.projected,
    "keywords_after_bn": lambda output: output.keywords.embeddings,
    "soft_tokens": lambda output: output.keywords.quantized.embeddings,
    "parallel_embedding": lambda output: output.parallel,
    "cascaded_embedding": lambda output: output.cascaded,
    "alphas_used": lambda output: output.keywords.cif.alphas,
    "alpha_sum": lambda output: output.keywords.cif.alpha_sum,
}


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Directory of each converted checkpoint, by the checkpoint's name."""
    directories = {}
    for name, content in fixture_files("checkpoint"):
        source = (DIRECTORY / name).with_name(content["checkpoint"])
        directories[content["checkpoint"]] = tmp_path_factory.mktemp("converted") / source.stem
        convert_checkpoint(source, directories[content["checkpoint"]])
    yield directories


def checkpoint_cases(*names: str) -> list[Any]:
    """Cases of these kinds; a case of another name is one of utterances or of a batch."""
    return [
        parameter
        for parameter in cases("checkpoint")
        if parameter.values[1] is None or kind(parameter.values[1]) in names
    ]


def kind(case: Mapping[str, Any]) -> str:
    if case["name"] in ("clip_towers", "single_raw_wave_as_reference_inference"):
        return case["name"]
    return "utterances" if "utterances" in case["outputs"] else "batch"


@pytest.mark.parametrize("content, case", checkpoint_cases("utterances"))
def test_lone_utterances(
    content: dict[str, Any], case: dict[str, Any], converted: dict[str, Path]
) -> None:
    model = load_speechclip(converted[content["checkpoint"]])
    utterances = zip(waves(case), case["outputs"]["utterances"], strict=True)
    for wave, recorded in utterances:
        output = model.encode_speech(wave[None])
        states = model.speech_encoder(wave[None], torch.tensor([len(wave)])).hidden_states
        theirs = recorded["hidden_states"].transpose(0, 1)  # (1, layers + 1, frames, dim)
        assert_close(states, theirs, MODEL_TOLERANCE, "hidden states")
        assert output.lengths.tolist() == [recorded["frames"]]
        compare(model, output, recorded["outputs"])


@pytest.mark.parametrize("content, case", checkpoint_cases("batch"))
def test_batch(
    content: dict[str, Any], case: dict[str, Any], converted: dict[str, Path], tmp_path: Path
) -> None:
    directory = converted[content["checkpoint"]]
    if case["mode"] == "compat":
        directory = switched_on(directory, tmp_path / "compatible")
    model = load_speechclip(directory)
    inputs, recorded = case["inputs"], case["outputs"]
    states = SpeechStates(inputs["hidden_states"].transpose(0, 1), inputs["frame_lengths"])
    with torch.inference_mode():
        compare(model, model(states), recorded)
    assert_close(
        model.clip.encode_images(inputs["images"]),
        recorded["image_embedding"],
        MODEL_TOLERANCE,
        "images",
    )
    if case["mode"] == "default":  # no padding: from the waves, too
        speech = torch.stack(waves(case))
        compare(model, model.encode_speech(speech, inputs["wav_lengths"]), recorded)


@pytest.mark.parametrize(
    "content, case", checkpoint_cases("single_raw_wave_as_reference_inference")
)
def test_raw_waves_as_the_reference_feeds_them(
    content: dict[str, Any], case: dict[str, Any], converted: dict[str, Path]
) -> None:
    """Its inference code forgets to normalise the wave; large encoders do it themselves."""
    model = load_speechclip(converted[content["checkpoint"]])
    inside = content["encoder"]["waveform_layer_norm_in_encoder"]
    model.speech_encoder.normalize_waveform = inside
    utterances = zip(waves(case), case["outputs"]["utterances"], strict=True)
    for wave, recorded in utterances:
        output = model.encode_speech(wave[None])
        for branch in ("parallel", "cascaded"):
            theirs = recorded.get(f"{branch}_audio_feat")
            if theirs is not None:  # SpeechCLIP+ returns it without L2 normalisation
                theirs = torch.nn.functional.normalize(theirs, dim=-1)
                assert_close(getattr(output, branch), theirs, MODEL_TOLERANCE, branch)


@pytest.mark.parametrize("content, case", checkpoint_cases("clip_towers"))
def test_clip_towers(
    content: dict[str, Any], case: dict[str, Any], converted: dict[str, Path]
) -> None:
    clip = load_speechclip(converted[content["checkpoint"]]).clip
    inputs, recorded = case["inputs"], case["outputs"]
    normalize = torch.nn.functional.normalize
    images = clip.encode_images(inputs["images"])
    assert_close(images, normalize(recorded["image_embedding"], dim=-1), MODEL_TOLERANCE, "images")
    ids = [row[1 : row.index(clip.eot_id)] for row in inputs["text_ids"].tolist()]
    texts = normalize(recorded["text_embedding"], dim=-1)
    for row, text in zip(ids, texts, strict=True):
        words = clip.tokenizer.decode(row)
        if clip.tokenize([words]) == [row]:  # the recorded ids are not words everywhere
            ours = clip.encode_texts([words])[0]
            assert_close(ours, text, MODEL_TOLERANCE, "text")
        tokens = clip.token_embedding[row][None]  # (1, tokens, dim)
        embedding = clip.encode_soft_tokens(tokens, torch.tensor([len(row)]))
        assert_close(embedding[0], text, MODEL_TOLERANCE, "text as soft tokens")
    keywords = inputs["keyword_embeddings"]
    lengths = torch.full((len(keywords),), inputs["keyword_count"])
    theirs = normalize(recorded["keyword_embedding"], dim=-1)
    assert_close(clip.encode_soft_tokens(keywords, lengths), theirs, MODEL_TOLERANCE, "keywords")


def single_cases() -> list[Any]:
    return [
        parameter
        for parameter in cases("model")
        if parameter.values[1] is None or "utterances" in parameter.values[1]["outputs"]
    ]


@pytest.mark.parametrize("content, case", single_cases())
def test_every_architecture_survives_conversion(
    content: dict[str, Any], case: dict[str, Any], tmp_path: Path
) -> None:
    """The model fixtures as checkpoints: all five architectures, base and large."""
    path = tmp_path / "released.ckpt"
    write_lightning(path, complete(content), content["config"])
    convert_checkpoint(path, tmp_path / "converted")
    model = load_speechclip(tmp_path / "converted", image_tower=False)
    branch = model.keyword_branch
    if branch is not None:
        assert list(branch.vocabulary.ids) == list(content["vocab"]["ids"])
        forbidden = branch.forbidden.nonzero()[:, 0].tolist()
        assert forbidden == sorted(content["vocab"]["forbidden_rows"])
    for recorded in case["outputs"]["utterances"]:
        hidden_states = recorded["hidden_states"].transpose(0, 1)
        states = SpeechStates(hidden_states, torch.tensor([recorded["frames"]]))
        with torch.inference_mode():
            compare(model, model(states), recorded["outputs"])
    scale = content["state_dict"].get("criterion.temperature")
    if scale is not None:
        stored = load_file(tmp_path / "converted" / "model.safetensors")["loss.log_scale"]
        assert stored.item() == scale.item()


def complete(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """What the fixture leaves out: the whole token table, and the criterion's buffers."""
    weights = dict(content["state_dict"])
    ids = tuple(content["vocab"]["ids"])
    table = full_table(weights["clip.model.token_embedding.weight"], ids)
    generator = torch.Generator().manual_seed(0)
    others = torch.ones(len(table), dtype=torch.bool)
    others[list(ids)] = False
    table[others] = torch.randn(int(others.sum()), table.size(1), generator=generator)
    weights["clip.original_text_emb_weight"] = table
    weights["criterion.eye_mat"] = torch.eye(4, dtype=torch.bool)
    return weights


@pytest.mark.parametrize("content, case", checkpoint_cases("utterances"))
def test_switches_that_affect_embeddings_are_stored(
    content: dict[str, Any], case: dict[str, Any], converted: dict[str, Path]
) -> None:
    config = yaml.safe_load((converted[content["checkpoint"]] / "config.yaml").read_text())
    encoder = content["config"]["audio_encoder"]
    kinds = {"s3prl": "layer", "method1": "frame", "method2": "utterance"}
    kind = kinds[encoder.get("normalize_type") or "s3prl"]
    stored = config["layer_weighting_conf"]["normalize"]
    assert stored == (kind if encoder.get("normalize_hiddenstates") else False)
    normalize = config["speech_encoder_conf"]["normalize_waveform"]
    assert normalize == normalizes_waveform(content)
    assert not any(config["model_conf"]["compatibility"].values())


def waves(case: Mapping[str, Any]) -> list[Tensor]:
    return [wave.float() / 32768 for wave in case["inputs"]["wavs_int16"]]


def switched_on(directory: Path, copy: Path) -> Path:
    """The same model, stored with every switch on."""
    shutil.copytree(directory, copy)
    config = yaml.safe_load((copy / "config.yaml").read_text())
    config["model_conf"]["compatibility"] = asdict(ReferenceCompatibility.all())
    (copy / "config.yaml").write_text(yaml.safe_dump(config))
    return copy


def compare(model: SpeechCLIPModel, output: SpeechOutput, recorded: Mapping[str, Any]) -> None:
    if recorded.get("token_ids") is not None:
        ids = torch.tensor(model.keyword_branch.vocabulary.ids)[output.keywords.quantized.rows]
        lengths = output.keywords.lengths
        if recorded.get("slot_lengths") is not None:
            assert lengths.tolist() == recorded["slot_lengths"].tolist()
        for row, length in enumerate(lengths.tolist()):
            assert ids[row, :length].tolist() == recorded["token_ids"][row, :length].tolist()
    for name, value in OUTPUTS.items():
        if recorded.get(name) is None:
            continue
        ours, theirs = value(output), recorded[name]
        if ours.dim() == 3:  # slots beyond an utterance's own mean nothing
            mask = torch.arange(ours.size(1))[None] < output.keywords.lengths[:, None]
            ours, theirs = ours[mask], theirs[mask]
        assert_close(ours, theirs, MODEL_TOLERANCE, name)
