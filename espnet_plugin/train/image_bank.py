"""All images of the training set, to contrast each utterance with more than its batch."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from espnet_plugin.data.image_embedding import read_embedding
from espnet_plugin.data.sampler_files import read_image_ids
from espnet_plugin.data.scp import read_scp
from espnet_plugin.utils.errors import DataError

SOFTNESS = 0.3  # share of the targets for similar images
# what temperature 0.05 leaves on average on mini's images, where soft targets were tried
OWN_SHARE = 0.86
SAMPLED_IMAGES = 256
COLDEST, HOTTEST = 1e-3, 1.0


class ImageBank(nn.Module):
    """The stored embedding of each image; images are frozen, so it stays exact.

    It is filled before the first update, see :func:`fill_image_bank`, and not in any checkpoint.

    Args:
        temperature: Temperature of the soft targets of :func:`bank_loss`, by default the images'
            :func:`soft_target_temperature`.
    """

    ids: Tensor
    embeddings: Tensor

    def __init__(self, *, temperature: float | None = None) -> None:
        super().__init__()
        if temperature is not None and temperature <= 0:
            raise ValueError(f"model_conf.bank_temperature must be positive, got {temperature}")
        self.temperature = temperature
        self.register_buffer("ids", torch.zeros(0, dtype=torch.long), persistent=False)
        self.register_buffer("embeddings", torch.zeros(0, 0), persistent=False)

    @torch.no_grad()
    def fill(self, ids: Tensor, images: Tensor) -> None:
        """Takes all images of the training set.

        Args:
            ids: Number of each image, (images,).
            images: Embeddings of the images, (images, dim).
        """
        order = ids.argsort()
        device = self.ids.device
        images = nn.functional.normalize(images[order].float(), dim=-1)
        if self.temperature is None:
            self.temperature = soft_target_temperature(images)
            logging.info(f"bank_temperature: {self.temperature:.4f}, images: {len(ids)}")
        self.ids, self.embeddings = ids[order].to(device), images.to(device)

    def forward(self, speech: Tensor, ids: Tensor, scale: Tensor) -> Tensor:
        """Computes :func:`bank_loss` over all images.

        Args:
            speech: L2-normalised embeddings, (batch, dim).
            ids: Numbers of the utterances' images, (batch,).
            scale: Factor of the similarities.

        Raises:
            RuntimeError: If the bank was not filled.
        """
        embeddings = self.filled()
        assert self.temperature is not None  # as the bank is filled
        rows = torch.searchsorted(self.ids, ids)  # of the utterances' images
        return bank_loss(speech, rows, embeddings, scale, temperature=self.temperature)

    def filled(self) -> Tensor:
        """The embeddings of all images, (images, dim).

        Raises:
            RuntimeError: If the bank was not filled.
        """
        if not len(self.ids):
            raise RuntimeError(
                "the bank of training images is empty; call fill_image_bank before the first update"
            )
        return self.embeddings


def bank_loss(
    speech: Tensor, targets: Tensor, bank: Tensor, scale: Tensor, *, temperature: float
) -> Tensor:
    r"""Cross-entropy of each utterance over *all* images of the training set.

    With the utterance :math:`a`, its image :math:`p` and the images :math:`v_j`,

    .. math::
        B = -\sum_j q_j \log \mathrm{softmax}_j(s \, a \cdot v_j), \qquad
        q_j = (1 - \epsilon) [j = p] + \epsilon \, \mathrm{softmax}_j(v_p \cdot v_j / \theta).

    So similar images share ``SOFTNESS``, :math:`\epsilon`, of the target. Images are frozen and
    stored: these negatives are exact, while a queue's are stale (MoCo, arXiv 1911.05722).

    Args:
        speech: L2-normalised embeddings, (batch, dim).
        targets: Row of each utterance's image in the bank, (batch,).
        bank: L2-normalised embeddings of the images, (images, dim).
        scale: Factor :math:`s` of the similarities.
        temperature: Temperature :math:`\theta` of the soft targets.
    """
    with torch.autocast(speech.device.type, enabled=False):
        precision = torch.promote_types(speech.dtype, torch.float32)
        speech, bank = speech.to(precision), bank.to(precision)
        log_probabilities = (scale * speech @ bank.T).log_softmax(dim=1)  # (batch, images)
        own = log_probabilities.gather(1, targets[:, None]).mean()
        soft = (bank[targets] @ bank.T / temperature).softmax(dim=1)  # (batch, images)
        alike = (soft * log_probabilities).sum(dim=1).mean()
    return -(1 - SOFTNESS) * own - SOFTNESS * alike


def soft_target_temperature(images: Tensor) -> float:
    r"""Temperature at which an image keeps most of its own soft target.

    For image p of M images v, the soft target leaves

    .. math:: s_p(\tau) = 1 \Big/ \sum_{j=1}^{M} \exp\frac{v_p \cdot v_j - 1}{\tau}

    on p itself. At the temperature, the median of :math:`s_p` is ``OWN_SHARE``. A fixed temperature
    does not fit all corpora. With normally distributed cosines of mean :math:`\mu` and deviation
    :math:`\sigma`,

    .. math:: \log(1/s - 1) = \log(M - 1) - \frac{1 - \mu}{\tau} + \frac{\sigma^2}{2 \tau^2}.

    At a temperature of 0.05, with cosines of 0.5 ± 0.08 and 113,000 images, 5 % stay on the image
    itself. For 86 % the temperature must be 0.029.

    Args:
        images: L2-normalised embeddings, (images, dim).

    Returns:
        A temperature from 0.001 (if half of the images have doubles) to 1.
    """
    rows = torch.linspace(0, len(images) - 1, min(SAMPLED_IMAGES, len(images))).round().long()
    distances = 1 - (images[rows] @ images.T).clamp(max=1.0)  # (sampled, images)
    low, high = math.log(COLDEST), math.log(HOTTEST)
    for _ in range(30):  # the share falls as the temperature rises
        middle = (low + high) / 2
        shares = 1 / torch.exp(-distances / math.exp(middle)).sum(dim=1)  # (sampled,)
        if shares.median() > OWN_SHARE:
            low = middle
        else:
            high = middle
    return math.exp(low)


def fill_image_bank(
    bank: ImageBank, data: Sequence[Sequence[str]], utterances: Collection[str]
) -> None:
    """Fills a bank with the stored embeddings of the utterances' images.

    Args:
        bank: The bank to fill.
        data: Path, name and type of each part of the training data, as ESPnet's
            ``--train_data_path_and_name_and_type`` has them.
        utterances: Ids of the training set's utterances.

    Raises:
        DataError: If the data hold no stored embeddings, or one is missing or damaged.
    """
    path = next((path for path, name, kind in data if (name, kind) == ("image", "npy")), None)
    if path is None:
        raise DataError(
            "model_conf.bank_weight and naming_weight need stored image embeddings: give the "
            "training data image_feat.scp,image,npy (stage 4), or set both to 0"
        )
    listed = read_scp(path)
    files: dict[str, str] = {}
    for utterance, image_id in read_image_ids(data, utterances).items():
        if utterance not in listed:
            raise DataError(f"{path}: no image embedding of utterance {utterance}; run stage 4")
        files.setdefault(image_id, listed[utterance])
    embeddings = np.stack([read_embedding(file) for file in files.values()])
    bank.fill(torch.tensor([int(number) for number in files]), torch.from_numpy(embeddings))
