from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor

from espnet_plugin.pretrained.convert.converter import convert_checkpoint
from espnet_plugin.pretrained.storage import load_speechclip
from espnet_plugin.teachers.speech_encoder import SpeechStates
from tests.parity.fixtures import DIRECTORY
from tests.released import (
    conversion_memory,
    plausible_config,
    random_weights,
    read_skeleton,
    vocabulary_ids,
    write_lightning,
)
from tests.usage import usage_of

SHRINK = 16
SKELETONS = sorted(DIRECTORY.glob("skeleton_*.json"))
pytestmark = pytest.mark.skipif(not SKELETONS, reason="no skeletons of released checkpoints")
TABLE = "clip.model.token_embedding.weight"
FULL_TABLE = "clip.original_text_emb_weight"
Change = Callable[[dict[str, Tensor], dict[str, Any]], None]


def skeleton(ending: str) -> Path:
    path = next((path for path in SKELETONS if path.stem.endswith(ending)), None)
    return path or pytest.skip(f"no skeleton of {ending}")


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    """Of a hybrid+ model at a sixteenth of the real width."""
    return random_weights(read_skeleton(skeleton("base_hybrid_plus")), shrink=SHRINK)


@pytest.fixture
def released(weights: dict[str, Tensor], tmp_path: Path) -> Callable[..., Path]:
    """Writes the checkpoint, changed by a function of its weights and configuration."""

    def write(change: Change | None = None, **more: Any) -> Path:
        changed, config = dict(weights), plausible_config(weights, normalize_waveform=True)
        if change is not None:
            change(changed, config)
        write_lightning(tmp_path / "released.ckpt", changed, config, **more)
        return tmp_path / "released.ckpt"

    return write


@pytest.mark.slow
@pytest.mark.parametrize("path", SKELETONS, ids=lambda path: path.stem)
def test_every_released_layout_converts_and_loads(path: Path, tmp_path: Path) -> None:
    weights = random_weights(read_skeleton(path), shrink=SHRINK)
    write_lightning(tmp_path / "released.ckpt", weights, plausible_config(weights))
    report = convert_checkpoint(tmp_path / "released.ckpt", tmp_path / "out")
    model = load_speechclip(tmp_path / "out", image_tower=False, text_tower=False)
    trained = load_file(tmp_path / "out" / "model.safetensors")
    assert ("token_table" in trained) == (model.keyword_branch is not None)
    output = model.encode_speech(torch.randn(1, 4000))
    assert (output.parallel is None) == ("cascaded" in report.architecture)
    assert (output.keywords is None) == (report.architecture == "parallel")


def test_layout_of_the_result(
    released: Callable[..., Path], weights: dict[str, Tensor], tmp_path: Path
) -> None:
    convert_checkpoint(released(), tmp_path / "a" / "out")
    written = [path for path in tmp_path.glob("a/**/*") if path.is_file()]
    assert sorted(str(path.relative_to(tmp_path / "a")) for path in written) == [
        "out/clip/clip.json",
        "out/clip/weights.safetensors",
        "out/config.yaml",
        "out/model.safetensors",
        "out/speech_encoder/config.json",
        "out/speech_encoder/model.safetensors",
        "out/speech_encoder/preprocessor_config.json",
    ]
    config = yaml.safe_load((tmp_path / "a/out/config.yaml").read_text())
    assert config["format_version"] == 1
    assert config["keyword_vocabulary"]["ids"] == vocabulary_ids(8112)
    assert config["keyword_vocabulary"]["forbidden"] == [0, 49406, 49407]
    assert config["speech_encoder_conf"] == {
        "model": "speech_encoder",
        "normalize_waveform": True,
        "frame_length_rule": "exact",
    }
    table = load_file(tmp_path / "a/out/clip/weights.safetensors")["token_embedding.weight"]
    assert len(table) == 49408
    trained = load_file(tmp_path / "a/out/model.safetensors")
    assert torch.equal(trained["loss.log_scale"], weights["criterion.temperature"])


def test_large_encoders_normalise_and_cast_to_single_precision(tmp_path: Path) -> None:
    weights = random_weights(read_skeleton(skeleton("large_parallel")), shrink=SHRINK)
    for key, value in weights.items():
        weights[key] = value.half() if value.is_floating_point() else value
    write_lightning(tmp_path / "x.ckpt", weights, plausible_config(weights))
    report = convert_checkpoint(tmp_path / "x.ckpt", tmp_path / "out")
    assert report.architecture == "parallel"
    config = yaml.safe_load((tmp_path / "out/config.yaml").read_text())
    assert config["speech_encoder_conf"]["normalize_waveform"] is True
    for name in ("model", "clip/weights", "speech_encoder/model"):
        dtypes = {value.dtype for value in load_file(tmp_path / f"out/{name}.safetensors").values()}
        assert dtypes <= {torch.float32, torch.int64}


def test_ambiguous_rows_are_named(released: Callable[..., Path], tmp_path: Path) -> None:
    ids = vocabulary_ids(8112)

    def repeat(weights: dict[str, Tensor], config: dict[str, Any]) -> None:
        table = weights[FULL_TABLE].clone()
        table[49000] = table[ids[7]]
        weights[FULL_TABLE] = weights[f"cascaded_branch.{FULL_TABLE}"] = table

    with pytest.raises(ValueError, match=f"ambiguous .*row 7 is token {ids[7]} or 49000"):
        convert_checkpoint(released(repeat), tmp_path / "out")


def drop(*keys: str) -> Change:
    def change(weights: dict[str, Tensor], config: dict[str, Any]) -> None:
        for key in [key for key in weights if key.startswith(keys)]:
            del weights[key]

    return change


def put(key: str, value: Tensor) -> Change:
    def change(weights: dict[str, Tensor], config: dict[str, Any]) -> None:
        weights[key] = value

    return change


def configure(section: str, **options: Any) -> Change:
    def change(weights: dict[str, Tensor], config: dict[str, Any]) -> None:
        target = config
        for part in section.split(".") if section else ():
            target = target[part]
        target.update(options)

    return change


def extra_projection(weights: dict[str, Tensor], config: dict[str, Any]) -> None:
    weights["c_branch_proj_net.sequential.0.weight"] = torch.eye(32)
    weights["c_branch_proj_net.sequential.0.bias"] = torch.zeros(32)
    projection = {"dimensions": [32, 32], "dropout": 0.1}
    config["model_settings"]["cascaded_branch_projection"] = projection


LN_FINAL = "clip.model.ln_final.bias"
KEYWORD_PROJECTION = "cascaded_branch.linear_proj."
LAYER_3 = "audio_encoder.encoder.encoder.layers.3."
BAD_WEIGHTS = [
    (drop("cascaded_branch.parallel_proj.bias"), "parallel_projection.0.bias is missing"),
    (drop("cascaded_branch.bn_layer"), "keyword_branch.norm.norm.bias is missing"),
    (drop("cascaded_branch.self_att"), "no weights under cascaded_branch.self_att"),
    (drop("audio_encoder.weightedsum_layer"), "lack audio_encoder.weightedsum_layer.weights"),
    (drop("audio_encoder.encoder."), "not a HuBERT: it has no feature_extractor"),
    (drop(LAYER_3 + "fc1.weight"), "HuBERT do not fit: encoder.layers.3"),
    (drop("audio_encoder.encoder.encoder.layer_norm"), "not a HuBERT"),
    (drop("clip.model.visual.proj"), "visual.proj"),
    (drop(LN_FINAL, f"cascaded_branch.{LN_FINAL}"), "ln_final.bias is missing"),
    (drop(FULL_TABLE, f"cascaded_branch.{FULL_TABLE}"), "a reduced token table only"),
    (put(KEYWORD_PROJECTION + "weight", torch.ones(3, 4)), r"0.weight is \(3, 4\) instead of"),
    (put("cascaded_branch.cls", torch.ones(1, 5, 48)), "parallel_query"),
    (put("clip.model.positional_embedding", torch.ones(7, 32)), "is not a copy of"),
    (put(f"cascaded_branch.{LN_FINAL}", torch.full((32,), 9.0)), "is not a copy of"),
    (put("audio_encoder.encoder.extra.weight", torch.ones(1)), "extra.weight"),
    (put("surprise.weight", torch.ones(1)), "no SpeechCLIP has.*surprise.weight"),
    (put("parallel_branch.linear_proj.bias", torch.ones(1)), "has once only.*parallel"),
    (put(KEYWORD_PROJECTION + "bias", torch.full((32,), torch.nan)), "finite.*projection.0.bias"),
    (put(f"cascaded_branch.{TABLE}", torch.ones(8112, 32)), "not a copy"),
]
BAD_OPTIONS = [
    (configure("", clip={}), "configuration lacks clip.name"),
    (configure("", model_settings=None), "configuration lacks model_settings"),
    (configure("cl_loss", type="SupConLoss"), "SupConLoss has no counterpart"),
    (configure("model_settings.cascaded_branch", type="Other"), "Other has no counterpart"),
    (configure("model_settings.cascaded_branch", vq=3), "lacks or misuses"),
    (
        configure("model_settings.cascaded_branch.keyword.batchnorms", std_scale=[]),
        "lacks or misuses",
    ),
    (extra_projection, "cascaded_branch_projection has no counterpart"),
]


@pytest.mark.parametrize("change, message", [*BAD_WEIGHTS, *BAD_OPTIONS])
def test_bad_checkpoints_leave_nothing_behind(
    change: Change, message: str, released: Callable[..., Path], tmp_path: Path
) -> None:
    path = released(change)
    with pytest.raises(ValueError, match=message) as caught:
        convert_checkpoint(path, tmp_path / "new" / "out")
    assert str(path) in str(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["released.ckpt"]


def test_checkpoints_of_something_else(tmp_path: Path) -> None:
    resnet = {"conv1.weight": torch.ones(2, 3, 7, 7), "fc.bias": torch.ones(2)}
    foreign = {"state_dict": resnet, "hyper_parameters": {"lr": 1}}
    for number, (content, message) in enumerate(
        (
            (resnet, "lacks state_dict and hyper_parameters .it has conv1.weight, fc.bias"),
            ({"state_dict": resnet, "epoch": 3}, "lacks hyper_parameters"),
            (foreign, "not a checkpoint of SpeechCLIP.*conv1.weight"),
            ([1, 2], "holds a list"),
            ({"state_dict": {"a": 3}, "hyper_parameters": {}}, "not tensors: a"),
        )
    ):
        path = tmp_path / f"{number}.ckpt"
        torch.save(content, path)
        with pytest.raises(ValueError, match=message):
            convert_checkpoint(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_results_are_not_overwritten(released: Callable[..., Path], tmp_path: Path) -> None:
    path, out = released(), tmp_path / "out"
    out.mkdir()
    convert_checkpoint(path, out)  # empty directories may be there
    (out / "mine.txt").write_text("precious")
    with pytest.raises(FileExistsError, match="--force"):
        convert_checkpoint(path, out)
    with pytest.raises(ValueError, match="damaged|truncated"):
        broken = tmp_path / "broken.ckpt"
        broken.write_bytes(path.read_bytes()[:-100])
        convert_checkpoint(broken, out, force=True)
    assert (out / "mine.txt").read_text() == "precious" and (out / "model.safetensors").is_file()
    convert_checkpoint(path, out, force=True)
    assert not (out / "mine.txt").exists()


def test_separate_batch_norms_become_one(tmp_path: Path) -> None:
    """The original's batch norm per keyword has another layout when it is not parallel."""
    cascaded = random_weights(read_skeleton(skeleton("base_cascaded")), shrink=SHRINK)
    prefix = "cascaded_branch.bn_layer.bn_layer."
    config = plausible_config(cascaded)
    write_lightning(tmp_path / "one.ckpt", cascaded, config)
    for name in ("weight", "bias", "running_mean", "running_var"):
        whole = cascaded.pop(prefix + name).view(32, 8)  # (dim, slots)
        for slot in range(8):
            cascaded[f"cascaded_branch.bn_layer.bn_layers.{slot}.{name}"] = whole[:, slot].clone()
    count = cascaded.pop(f"{prefix}num_batches_tracked")
    for slot in range(8):
        cascaded[f"cascaded_branch.bn_layer.bn_layers.{slot}.num_batches_tracked"] = count
    write_lightning(tmp_path / "separate.ckpt", cascaded, config)
    convert_checkpoint(tmp_path / "one.ckpt", tmp_path / "one")
    convert_checkpoint(tmp_path / "separate.ckpt", tmp_path / "separate")
    one = load_file(tmp_path / "one" / "model.safetensors")
    separate = load_file(tmp_path / "separate" / "model.safetensors")
    assert all(torch.equal(one[key], separate[key]) for key in one)


def test_activation_and_eps_of_the_block_are_obeyed(tmp_path: Path) -> None:
    weights = random_weights(read_skeleton(skeleton("base_parallel")), shrink=SHRINK)
    config = plausible_config(weights)
    args = config["model_settings"]["parallel_branch"]["transformer_args"]
    args |= {"activation": "relu", "layer_norm_eps": 0.1, "dropout": 0.0}
    write_lightning(tmp_path / "released.ckpt", weights, config)
    convert_checkpoint(tmp_path / "released.ckpt", tmp_path / "out")
    model = load_speechclip(tmp_path / "out", image_tower=False, text_tower=False)

    layer = torch.nn.TransformerEncoderLayer(
        48, args["nhead"], args["dim_feedforward"], 0.0, "relu", 0.1, batch_first=True
    )
    block = torch.nn.TransformerEncoder(layer, 1, torch.nn.LayerNorm(48)).eval()
    prefix = "parallel_branch.self_att.model."
    block.load_state_dict(
        {key[len(prefix) :]: value for key, value in weights.items() if key.startswith(prefix)}
    )
    states = torch.randn(1, len(model.layer_weighting.weights), 6, 48)
    with torch.inference_mode():
        positions = [weights["parallel_branch.cls"], model.layer_weighting(states)]
        attended = block(torch.cat(positions, dim=1))[:, 0]
        projection = (weights[f"parallel_branch.linear_proj.{key}"] for key in ("weight", "bias"))
        expected = torch.nn.functional.linear(attended, *projection)
        ours = model(SpeechStates(states, torch.tensor([6]))).parallel
    torch.testing.assert_close(ours, torch.nn.functional.normalize(expected, dim=-1))


def test_one_batch_norm_for_all_keywords(tmp_path: Path) -> None:
    """``batchnorms.type: same``: statistics over batch and slots."""
    weights = random_weights(read_skeleton(skeleton("base_cascaded")), shrink=SHRINK)
    prefix = "cascaded_branch.bn_layer.bn_layer."
    for name in ("weight", "bias", "running_mean", "running_var"):
        weights[prefix + name] = torch.rand(32)  # of dim 32, not of 8 keywords times 32
    config = plausible_config(weights)
    keyword = config["model_settings"]["cascaded_branch"]["keyword"]
    keyword["batchnorms"] |= {"type": "same"}
    write_lightning(tmp_path / "released.ckpt", weights, config)
    convert_checkpoint(tmp_path / "released.ckpt", tmp_path / "out")

    model = load_speechclip(tmp_path / "out", image_tower=False, text_tower=False)
    keywords = model.encode_speech(torch.randn(1, 6000)).keywords
    mean, variance, weight, bias = (
        weights[prefix + name] for name in ("running_mean", "running_var", "weight", "bias")
    )
    expected = (keywords.projected - mean) / (variance + 1e-5).sqrt() * weight + bias
    torch.testing.assert_close(keywords.embeddings, expected)

    keyword["batchnorms"] |= {"type": "eachKw"}
    write_lightning(tmp_path / "wrong.ckpt", weights, config)
    message = r"keyword_branch.norm.norm.bias is \(32,\) instead of \(256,\)"
    with pytest.raises(ValueError, match=message):
        convert_checkpoint(tmp_path / "wrong.ckpt", tmp_path / "wrong")


def test_keywords_without_a_batch_norm(released: Callable[..., Path], tmp_path: Path) -> None:
    def change(weights: dict[str, Tensor], config: dict[str, Any]) -> None:
        drop("cascaded_branch.bn_layer")(weights, config)
        del config["model_settings"]["cascaded_branch"]["keyword"]["batchnorms"]

    convert_checkpoint(released(change), tmp_path / "out")
    model = load_speechclip(tmp_path / "out", image_tower=False, text_tower=False)
    keywords = model.encode_speech(torch.randn(1, 6000)).keywords
    assert torch.equal(keywords.embeddings, keywords.projected)


def test_compatibility_is_stored(released: Callable[..., Path], tmp_path: Path) -> None:
    convert_checkpoint(released(), tmp_path / "out", compatibility=["convolve_padding"])
    model = load_speechclip(tmp_path / "out", image_tower=False, text_tower=False)
    assert model.compatibility.convolve_padding and not model.compatibility.keep_leftovers
    with pytest.raises(ValueError, match="model_conf.compatibility has no option x"):
        convert_checkpoint(tmp_path / "released.ckpt", tmp_path / "no", compatibility=["x"])


@pytest.mark.slow
def test_memory_grows_less_than_twice_the_file(tmp_path: Path) -> None:
    """Beyond what importing takes."""
    code = (
        "import espnet_plugin.pretrained.convert.converter, open_clip; "
        "from transformers import HubertModel; import espnet_plugin.model.model"
    )
    imports = usage_of([sys.executable, "-c", code]).peak
    size, peak = conversion_memory(skeleton("base_hybrid_plus"), tmp_path, shrink=4)
    assert peak - imports < 2 * size
