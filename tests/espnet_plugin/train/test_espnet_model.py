from __future__ import annotations

import pytest
import torch

from espnet_plugin.model.losses import MaskedContrastiveLoss
from espnet_plugin.tasks.speechclip import SpeechCLIPTask
from espnet_plugin.teachers.speech_batch import SpeechBatch
from espnet_plugin.train.espnet_model import ESPnetSpeechCLIPModel, batch_accuracy


@pytest.fixture(scope="module")
def model(model_arguments) -> ESPnetSpeechCLIPModel:
    args = SpeechCLIPTask.get_parser().parse_args(
        [*model_arguments, "--model_conf", "{cascaded_weight: 0.5, quantity_weight: 2.0}"]
    )
    torch.manual_seed(0)
    return SpeechCLIPTask.build_model(args)


@pytest.fixture
def batch() -> dict[str, object]:
    generator = torch.Generator().manual_seed(1)
    return {
        "speech": SpeechBatch(
            torch.tensor([12, 8, 4, 12]), states=torch.randn(4, 12, 3, 24, generator=generator)
        ),
        "image": torch.randn(4, 32, generator=generator),
        "image_id": torch.tensor([[3], [1], [3], [2]]),
        "utt_id": ["a", "b", "c", "d"],
    }


def test_loss_is_the_weighted_sum_of_its_terms(model, batch) -> None:
    model.train()
    loss, stats, weight = model(**batch)
    assert weight.tolist() == [4]
    expected = stats["loss_parallel"] + 0.5 * stats["loss_cascaded"] + 2.0 * stats["loss_quantity"]
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert stats["target_keywords"].item() == pytest.approx((3 + 2 + 1 + 3) / 4)
    assert all(value.shape == (1,) and not value.requires_grad for value in stats.values())


def test_gradients_reach_every_trainable_parameter_and_no_frozen_one(model, batch) -> None:
    model.train()
    model.zero_grad()
    model(**batch)[0].sum().backward()
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not without
    frozen = [n for n, p in model.named_parameters() if not p.requires_grad]
    assert frozen and all(name.split(".")[1] in ("speech_encoder", "clip") for name in frozen)


def test_the_token_table_is_not_sent_at_every_step(model) -> None:
    ignored = set(model._ddp_params_and_buffers_to_ignore)
    sent = {name for name, _ in model.named_buffers()} - ignored
    norm = [f"running_{n}" for n in ("mean", "var")] + ["num_batches_tracked"]
    own = (f"speechclip.keyword_branch.norm.norm.{name}" for name in norm)
    assert sent == {"num_updates", *own}
    assert not ignored & {name for name, _ in model.named_parameters()}


def test_evaluation_uses_the_models_own_number_of_keywords(model, batch) -> None:
    model.eval()
    embeddings, (loss, stats, _) = model.evaluate(**batch)
    assert set(embeddings) == {"image", "image_id", "parallel", "cascaded"}
    assert embeddings["image_id"].tolist() == [3, 1, 3, 2]
    assert torch.allclose(embeddings["image"].norm(dim=1), torch.ones(4))
    criterion = MaskedContrastiveLoss()
    parallel = criterion(embeddings["parallel"], embeddings["image"], embeddings["image_id"])
    assert stats["loss_parallel"].item() == pytest.approx(parallel.item(), rel=1e-4)


def test_pixels_are_embedded_like_stored_embeddings(model, batch) -> None:
    model.eval()
    pixels = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    stored = model.speechclip.clip.encode_images(pixels)
    from_pixels, _ = model.evaluate(**{**batch, "image": pixels})
    from_store, _ = model.evaluate(**{**batch, "image": stored})
    assert torch.allclose(from_pixels["image"], from_store["image"], atol=1e-6)


def test_batch_accuracy_by_hand() -> None:
    e = torch.eye(2)
    ids = torch.tensor([5, 6])
    assert batch_accuracy(e, ids, e, ids) == 1
    assert batch_accuracy(e[[0, 0]], ids, e, ids) == 0.5


def test_the_bank_in_the_sum(model_arguments, batch) -> None:
    conf = "{quantity_weight: 0.0, bank_weight: 0.25}"
    args = SpeechCLIPTask.get_parser().parse_args([*model_arguments, "--model_conf", conf])
    model = SpeechCLIPTask.build_model(args).train()
    encoded = model.encode(**batch)
    images, ids = encoded.images, encoded.image_ids
    model.image_bank.fill(ids, images)
    loss, _, _ = model.objective(encoded)
    expected = 0.0
    for embeddings in (encoded.speech.parallel, encoded.speech.cascaded):
        bank = model.image_bank(embeddings, ids, model.loss.scale)
        expected = expected + 0.75 * model.loss(embeddings, images, ids) + 0.25 * bank
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    model.eval()
    assert model.objective(encoded)[0] != loss  # the bank is for training
    assert not [name for name in model.state_dict() if name.startswith("image_bank")]


def test_the_naming_loss_in_the_sum(model_arguments, batch) -> None:
    conf = "{quantity_weight: 0.0, naming_weight: 0.5}"
    args = SpeechCLIPTask.get_parser().parse_args([*model_arguments, "--model_conf", conf])
    model = SpeechCLIPTask.build_model(args).train()
    encoded = model.encode(**batch)
    with pytest.raises(RuntimeError, match="call prepare_naming"):
        model.objective(encoded)
    with pytest.raises(RuntimeError, match="the bank of training images is empty"):
        model.prepare_naming()
    model.image_bank.fill(encoded.image_ids, encoded.images)
    model.prepare_naming()
    loss, stats, _ = model.objective(encoded)
    expected = stats["loss_parallel"] + stats["loss_cascaded"] + 0.5 * stats["loss_naming"]
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    model.naming_loss.forward(
        encoded.speech.keywords.quantized.similarities,
        torch.ones(encoded.speech.keywords.quantized.rows.shape),
        encoded.images,
    ).backward()
    projection = model.speechclip.keyword_branch.projection
    assert all(p.grad.abs().sum() > 0 for p in projection.parameters())
    assert not [name for name in model.state_dict() if name.startswith("naming")]
    tables = {name for name, _ in model.named_buffers() if name.startswith("naming")}
    assert tables and tables <= set(model._ddp_params_and_buffers_to_ignore)
    model.eval()
    assert "loss_naming" not in model.objective(encoded)[1]  # it is for training
