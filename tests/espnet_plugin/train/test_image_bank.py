"""The loss over all images against a loop, and a bank that is filled from stored embeddings."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from espnet_plugin.train.image_bank import (
    OWN_SHARE,
    ImageBank,
    bank_loss,
    fill_image_bank,
    soft_target_temperature,
)
from espnet_plugin.utils.errors import DataError


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_equals_the_obvious_loop():
    speech, bank, targets, scale = unit(3, 4), unit(5, 4, seed=1), [4, 0, 4], 7.0
    total = 0.0
    for a, p in zip(speech, targets, strict=True):
        logits = [scale * float(a @ v) for v in bank]
        normaliser = math.log(sum(map(math.exp, logits)))
        alike = [math.exp(float(bank[p] @ v) / 0.05) for v in bank]
        for j, logit in enumerate(logits):
            share = 0.7 * (j == p) + 0.3 * alike[j] / sum(alike)
            total -= share * (logit - normaliser)
    loss = bank_loss(speech, torch.tensor(targets), bank, torch.tensor(scale), temperature=0.05)
    assert loss.item() == pytest.approx(total / 3, rel=1e-5)


def test_gradients():
    speech, bank = unit(3, 4).double().requires_grad_(), unit(5, 4, seed=1).double()
    scale = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([1, 0, 4])
    assert torch.autograd.gradcheck(
        lambda a, s: bank_loss(a, targets, bank, s, temperature=0.05), (speech, scale)
    )


def test_the_order_of_the_pictures_does_not_matter():
    images, order = unit(6, 4), [3, 5, 0, 2, 1, 4]
    bank, other = ImageBank(), ImageBank()
    bank.fill(torch.arange(6) * 10, images)
    other.fill(torch.tensor(order) * 10, 7 * images[order])  # normalised there
    assert other.ids.tolist() == [0, 10, 20, 30, 40, 50]
    speech, ids, scale = unit(2, 4, seed=1), torch.tensor([40, 0]), torch.tensor(9.0)
    expected = bank_loss(speech, ids // 10, images, scale, temperature=bank.temperature)
    for filled in (bank, other):
        torch.testing.assert_close(filled(speech, ids, scale), expected)
        assert not filled.state_dict()


@pytest.mark.parametrize("pictures", [3, 40])
def test_the_temperature_of_pictures_at_right_angles(pictures):
    # share 1 / (1 + (M - 1) exp(-1 / temperature))
    expected = 1 / math.log((pictures - 1) * OWN_SHARE / (1 - OWN_SHARE))
    assert soft_target_temperature(torch.eye(pictures)) == pytest.approx(expected, rel=1e-4)


def test_the_own_share_stays_whatever_the_number_of_pictures():
    """Cosines of 0.5 ± 0.08, as CLIP's are."""
    common = F.pad(torch.ones(6000, 1), (0, 39))
    images = math.sqrt(0.5) * (common + F.pad(unit(6000, 39), (1, 0)))

    def share(bank: torch.Tensor, temperature: float) -> float:
        shares = (bank[:64] @ bank.T / temperature).softmax(dim=1)
        return shares.diagonal().mean().item()

    few, many = images[:1000], images
    assert share(few, 0.05) - share(many, 0.05) > 0.2
    temperatures = [soft_target_temperature(bank) for bank in (few, many)]
    for bank, temperature in zip((few, many), temperatures, strict=True):
        assert share(bank, temperature) == pytest.approx(OWN_SHARE, abs=0.03)
    # the root of the equation for normally distributed cosines
    wanted = math.log(5999 * OWN_SHARE / (1 - OWN_SHARE))
    inverse = (0.5 - math.sqrt(0.25 - 2 * 0.08**2 * wanted)) / 0.08**2
    assert temperatures[1] == pytest.approx(1 / inverse, rel=0.05)


def test_doubles_of_every_picture_end_at_the_lowest_temperature():
    images = torch.eye(4).repeat(2, 1)
    assert soft_target_temperature(images) == pytest.approx(1e-3)


def training_data(folder: Path) -> list[tuple[str, str, str]]:
    """Three utterances of two pictures."""
    np.save(folder / "a.npy", np.array([3.0, 4.0], np.float32))
    np.save(folder / "b.npy", np.array([0.0, 2.0], np.float32))
    files = {"u1": "b", "u2": "a", "u3": "b"}
    (folder / "feat.scp").write_text("".join(f"{u} {folder}/{f}.npy\n" for u, f in files.items()))
    (folder / "ids").write_text("u1 7\nu2 4\nu3 7\n")
    return [
        (f"{folder}/feat.scp", "image", "npy"),
        (f"{folder}/ids", "image_id", "text_int"),
    ]


def test_it_is_filled_from_the_files_of_the_training_data(tmp_path):
    bank = ImageBank(temperature=0.07)
    data = training_data(tmp_path)
    fill_image_bank(bank, data, ["u1", "u2", "u3"])
    assert bank.ids.tolist() == [4, 7] and bank.temperature == 0.07
    torch.testing.assert_close(bank.embeddings, torch.tensor([[0.6, 0.8], [0.0, 1.0]]))
    fill_image_bank(bank, data, ["u3"])
    assert bank.ids.tolist() == [7]


def test_what_is_missing_or_damaged_is_named(tmp_path):
    bank, data = ImageBank(), training_data(tmp_path)
    with pytest.raises(RuntimeError, match="fill_image_bank"):
        bank(unit(1, 2), torch.tensor([4]), torch.tensor(1.0))
    with pytest.raises(DataError, match=r"image_feat.scp,image,npy"):
        fill_image_bank(bank, [(data[0][0], "image", "text"), data[1]], ["u1"])
    (tmp_path / "b.npy").write_bytes(b"")
    with pytest.raises(DataError, match=r"b\.npy"):
        fill_image_bank(bank, data, ["u1"])
    (tmp_path / "feat.scp").write_text("u2 a.npy\n")
    with pytest.raises(DataError, match=r"feat.scp: no image embedding of utterance u1"):
        fill_image_bank(bank, data, ["u1"])


def test_an_impossible_temperature_is_refused():
    with pytest.raises(ValueError, match="bank_temperature must be"):
        ImageBank(temperature=0.0)
