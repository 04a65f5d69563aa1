"""Two processes of unequal parts compute the loss and gradients of one with the whole batch."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from espnet2.torch_utils.recursive_op import recursive_average
from torch import Tensor

from espnet_plugin.model.objectives import Objectives
from espnet_plugin.tasks.speechclip import SpeechCLIPTask
from espnet_plugin.teachers.speech_batch import SpeechBatch
from espnet_plugin.train.espnet_model import ESPnetSpeechCLIPModel
from tests.processes import run_ranks

WITHOUT_TERMS = {x.name: 0.0 for x in fields(Objectives) if x.name.endswith("_weight")}
# Each term by itself; a share of a branch's term is nothing without the branch.
TERMS = {
    "parallel": {"parallel_weight": 1.0},
    "cascaded": {"cascaded_weight": 1.0},
    "quantity": {"quantity_weight": 1.0},
    "diversity": {"diversity_weight": 1.0},
    "bank": {"parallel_weight": 1.0, "bank_weight": 0.5},
    "naming": {"naming_weight": 1.0},
}
PARTS = (slice(0, 5), slice(5, 8))  # of the two ranks
Step = tuple[Tensor, dict[str, Tensor]]


def build(arguments: list[str]) -> ESPnetSpeechCLIPModel:
    torch.manual_seed(0)
    model = SpeechCLIPTask.build_model(SpeechCLIPTask.get_parser().parse_args(arguments)).train()
    generator = torch.Generator().manual_seed(1)
    model.image_bank.fill(torch.arange(9), torch.randn(9, 32, generator=generator))
    model.prepare_naming()
    return model


def whole_batch() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(2)
    lengths = [9600, 3200, 6400, 4000, 8000, 5600, 3000, 4400]  # each part has its own longest
    return {
        "waveforms": torch.randn(8, max(lengths), generator=generator),
        "lengths": torch.tensor(lengths),
        "image": torch.randn(8, 32, generator=generator),
        "image_id": torch.tensor([3, 1, 3, 2, 1, 1, 4, 3]),
    }


def steps(rank: int | None, arguments: list[str]) -> dict[str, Step]:
    """Loss and gradients of each term, as ESPnet's trainer and DistributedDataParallel make
    them of the ranks' losses."""
    model, ranks = build(arguments), 1 if rank is None else len(PARTS)
    part = slice(None) if rank is None else PARTS[rank]
    batch = {name: value[part] for name, value in whole_batch().items()}
    waveforms, lengths = batch.pop("waveforms"), batch.pop("lengths")
    speech = SpeechBatch(lengths, waveforms[:, : int(lengths.max())])
    found = {}
    for term, weights in TERMS.items():
        model.objectives = replace(model.objectives, **{**WITHOUT_TERMS, **weights})
        model.zero_grad()
        loss, stats, weight = model(speech=speech, **batch)
        stats, total = recursive_average(stats, weight, distributed=ranks > 1)
        ((loss * weight).sum() / total * ranks).backward()
        gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        if ranks > 1:
            for gradient in gradients.values():
                torch.distributed.all_reduce(gradient)
                gradient /= ranks
        found[term] = stats["loss"], gradients
    return found


@pytest.fixture(scope="module")
def both(
    model_arguments: list[str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Step], list[dict[str, Step]]]:
    """By one process, and by each of two."""
    everything = ", ".join(f"{name}: 1.0" for name in WITHOUT_TERMS)
    arguments = [
        *model_arguments,
        *("--quantizer_conf", "hard=false"),
        *("--model_conf", f"{{blank: true, {everything}}}"),
    ]
    return steps(None, arguments), run_ranks(steps, tmp_path_factory.mktemp("ranks"), arguments)


def test_every_term_is_covered() -> None:
    assert {name for weights in TERMS.values() for name in weights} == set(WITHOUT_TERMS)


@pytest.mark.parametrize("term", TERMS)
def test_two_ranks_equal_one_process(term: str, both) -> None:
    loss, gradients = both[0][term]
    assert loss > 0 and any(gradient.abs().sum() > 0 for gradient in gradients.values())
    for own_loss, own_gradients in (rank[term] for rank in both[1]):
        torch.testing.assert_close(own_loss, loss, rtol=1e-4, atol=1e-6)
        assert own_gradients.keys() == gradients.keys()
        for name, gradient in gradients.items():
            # what is nothing but rounding (a bias before a batch norm) is as large as that
            limit = 1e-3 * float(gradient.abs().max()) + 2e-5
            torch.testing.assert_close(own_gradients[name], gradient, rtol=0, atol=limit, msg=name)
