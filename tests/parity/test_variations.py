"""The tests of this directory hold for any fixture of the documented form, not for the public ones
alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from espnet_plugin.model.compatibility import ReferenceCompatibility
from espnet_plugin.pretrained.convert.converter import convert_checkpoint
from espnet_plugin.pretrained.convert.reference_keys import map_weights
from tests.parity import test_checkpoints, test_models
from tests.parity.fixtures import fixture_files
from tests.parity.models import build, trained_values
from tests.parity.variations import (
    Content,
    as_checkpoint,
    in_id_order,
    with_normalised_data,
    with_open_units,
    with_separate_norms,
    with_two_convolutions,
)
from tests.released import write_lightning


def model(arch: str, *, large: bool = False) -> Content:
    """The public fixture of an architecture, with or without a large encoder."""
    for _, content in fixture_files("model"):
        names = {case["name"] for case in content["cases"]}
        if content["arch"] == arch and "eval_single_utterances" in names:
            if content["encoder"]["waveform_layer_norm_in_encoder"] == large:
                return content
    return pytest.skip(f"no fixture of {'large' if large else 'base'} {arch}")


def check(content: Content, path: Path) -> None:
    """The tests of a model's fixture, with a batch in training and with lone utterances."""
    test_models.test_batch(content, named(content, "train_equal_lengths"))
    single = named(content, "eval_single_utterances")
    test_models.test_lone_utterances_from_waves(content, single)
    test_checkpoints.test_every_architecture_survives_conversion(content, single, path)


def named(content: Content, name: str) -> dict[str, Any]:
    return next(case for case in content["cases"] if case["name"] == name)


def test_a_batch_norm_for_each_keyword(tmp_path: Path) -> None:
    content = with_separate_norms(model("cascaded"))
    assert any("bn_layers.3.running_mean" in key for key in content["state_dict"])
    check(content, tmp_path)


@pytest.mark.parametrize("arch", ["cascaded", "hybrid_plus"])
def test_a_vocabulary_in_id_order(arch: str, tmp_path: Path) -> None:
    content = in_id_order(model(arch))
    assert content["vocab"]["ids"] == sorted(content["vocab"]["ids"])
    check(content, tmp_path)


@pytest.mark.parametrize("arch", ["cascaded_plus", "hybrid_plus"])
def test_a_cif_of_two_convolutions(arch: str, tmp_path: Path) -> None:
    """Every switch of a stored configuration reaches all of the network."""
    content, directory = with_two_convolutions(model(arch)), tmp_path / "converted"
    write_lightning(tmp_path / "varied.ckpt", test_checkpoints.complete(content), content["config"])
    convert_checkpoint(tmp_path / "varied.ckpt", directory)
    case = named(content, "eval_ragged")
    test_models.test_batch(content, case)
    accompanying, converted = as_checkpoint(content), {"varied.ckpt": directory}
    test_checkpoints.test_batch(accompanying, case, converted, tmp_path)


@pytest.mark.parametrize("arch", ["hybrid", "hybrid_plus"])
@pytest.mark.parametrize("vary", [dict, with_normalised_data])
def test_large_encoders(arch: str, vary: Callable[[Content], Content], tmp_path: Path) -> None:
    """They normalise waves themselves, whatever the data set does; one of the two normalises hidden
    states."""
    content = vary(model(arch, large=True))
    single, raw = as_checkpoint(content)["cases"]
    test_models.test_lone_utterances_from_waves(content, single)
    directory = tmp_path / "converted"
    weights = test_checkpoints.complete(content)
    write_lightning(tmp_path / "varied.ckpt", weights, content["config"])
    convert_checkpoint(tmp_path / "varied.ckpt", directory)
    accompanying, converted = as_checkpoint(content), {"varied.ckpt": directory}
    test_checkpoints.test_lone_utterances(accompanying, single, converted)
    test_checkpoints.test_raw_waves_as_the_reference_feeds_them(accompanying, raw, converted)
    test_checkpoints.test_switches_that_affect_embeddings_are_stored(
        accompanying, single, converted
    )


def test_open_hidden_units_may_wander(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adam moves a bias without a gradient by what rounding leaves: another machine records another
    value."""
    content = with_open_units(model("hybrid_plus", large=True), units=5)
    case = named(content, "train_equal_lengths") | {"config": {"clip_grad_norm": 4.0}}
    case["outputs"] = record_training(content, case)
    final, projection = case["outputs"]["final"], "cascaded_branch.linear_proj.sequential"
    final[f"{projection}.0.bias"][:5] += 0.01
    final[f"{projection}.3.bias"] += 0.01
    test_models.test_training_trajectory(content, case)
    monkeypatch.setattr(test_models, "zero_gradients", lambda *_: {})
    # both biases of the projection: the batch norm behind it takes away what they add
    with pytest.raises(AssertionError, match=r"keyword_branch\.projection\.[03]\.bias"):
        test_models.test_training_trajectory(content, case)


def record_training(content: Content, case: Mapping[str, Any]) -> dict[str, Any]:
    """The outputs of a trajectory, from our own model and with the batch in another order."""
    inputs = case["inputs"]
    order = torch.arange(len(inputs["ids"]) - 1, -1, -1)
    inputs = {
        **inputs,
        "hidden_states": inputs["hidden_states"][:, order],
        **{name: inputs[name][order] for name in ("frame_lengths", "images", "ids")},
    }
    trained = build(content, compatibility=ReferenceCompatibility())
    batch = test_models.batch_of(trained, {**case, "inputs": inputs})
    steps = test_models.training_steps(trained, batch, content, case)
    outputs: dict[str, Any] = {"steps": [record for record, _ in itertools.islice(steps, 8)]}
    values = trained_values(trained)
    outputs["final"] = {
        key: values[name].detach().view_as(content["state_dict"][key]).clone()
        for key, name in map_weights(content["state_dict"]).renamed.items()
        if name in values and not name.endswith("num_batches_tracked")
    }
    embeddings = test_models.parallel_embeddings(trained, batch)[order]
    return outputs | {"eval_embeddings": {"parallel_embedding": embeddings}}
