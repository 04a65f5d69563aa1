"""Naming: the keywords of an utterance must name what its image shows.

The cascaded branch's gradient reaches a sub-word only through CLIP's text tower, which reads
mixtures that no text contains. Here each image has tags, which are sub-words. They come from CLIP
alone: a linear classifier learns which sub-words a text holds from its embedding, and then reads
images, as captioners do that are trained on text alone (CapDec, arXiv 2211.00575).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from espnet_plugin.model.model import SpeechCLIPModel
from espnet_plugin.model.quantizer import cosine_similarities
from espnet_plugin.teachers.clip import FrozenCLIP
from espnet_plugin.train.image_bank import ImageBank

LISTS = 8000  # texts that the classifier learns from
SHORTEST, LONGEST = 4, 12  # sub-words of a list
TEXTS = 500  # or images, embedded or read at once
STEPS, BATCH, RATE = 250, 512, 3e-3
NOISE = 1.0  # length of the noise on embeddings of length 1: images lie apart from texts
SCALE = 4.0  # of the embeddings, for the softmax
ABOVE_FREEZING = 2.0
NAMED = 1e-6  # least probability that a sub-word is named, and that it is not


class ImageTagger(nn.Module):
    r"""Tags of images: sub-words that an image shows, and most images do not.

    With the classifier's probabilities :math:`\pi_j(i)` of sub-word i for image j, and their mean
    :math:`\bar\pi(i)` over the training images, the tags' weights are

    .. math:: g_j(i) \propto \pi_j(i) \max\Bigl(0, \log \frac{\pi_j(i)}{\bar\pi(i)}\Bigr)

    Args:
        weight: Weight of the classifier that :func:`train_reader` trains, (sub-words, E).
        bias: Bias of that classifier, (sub-words,).
        images: Embeddings of the training images, L2-normalised, (images, E).
    """

    weight: Tensor
    bias: Tensor
    center: Tensor
    usual: Tensor

    @torch.no_grad()
    def __init__(self, weight: Tensor, bias: Tensor, images: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("bias", bias, persistent=False)
        self.register_buffer("center", images.mean(dim=0), persistent=False)
        total = sum(self._read(part).exp().sum(dim=0) for part in images.split(TEXTS))
        self.register_buffer("usual", total / len(images), persistent=False)  # (sub-words,)

    def _read(self, images: Tensor) -> Tensor:
        inputs = SCALE * F.normalize(images - self.center, dim=-1)
        return F.linear(inputs, self.weight, self.bias).log_softmax(dim=-1)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Computes the tags' weights, which sum to 1.

        Args:
            images: L2-normalised embeddings, (batch, E).

        Returns:
            (batch, sub-words).
        """
        with torch.autocast(images.device.type, enabled=False):
            read = self._read(images.float())  # (batch, sub-words)
            weights = read.exp() * (read - self.usual.log()).clamp(min=0)
            return weights / weights.sum(dim=-1, keepdim=True).clamp(min=1e-12)


class NamingLoss(nn.Module):
    r"""Cross-entropy between an image's tags and the sub-words that the keywords name.

    :math:`\rho_n(i)` is the softmax of segment n's cosines over the sub-words i, :math:`\beta_n`
    the probability that the segment is blank, and m the utterance's image. A sub-word counts once,
    however often it is named:

    .. math:: G = -\sum_i g_m(i) \log\Bigl(1 - \prod_n \bigl(1 - (1 - \beta_n) \rho_n(i)\bigr)\Bigr)

    Each keyword names one sub-word, so the tags compete for keywords.

    Args:
        tagger: Module that gives an image's tags :math:`g_j`.
        temperature: Temperature of the softmax over sub-words, see :func:`freezing_temperature`.
    """

    def __init__(self, tagger: ImageTagger, *, temperature: float) -> None:
        super().__init__()
        self.tagger = tagger
        self.temperature = temperature

    def forward(self, cosines: Tensor, said: Tensor, images: Tensor) -> Tensor:
        r"""Computes the mean loss over the batch.

        Args:
            cosines: Cosine of each keyword to each sub-word, minus infinity where it must not be
                chosen, (batch, slots, sub-words).
            said: Probability :math:`1 - \beta_n`, 0 at padding, (batch, slots).
            images: L2-normalised embeddings of the utterances' images, (batch, E).
        """
        tags = self.tagger(images)  # (batch, sub-words)
        with torch.autocast(cosines.device.type, enabled=False):
            named = (cosines.float() / self.temperature).softmax(dim=-1)
            factor = -(1 - NAMED) * said[:, :, None]
            unsaid = torch.log1p(factor * named).sum(dim=1)  # (batch, sub-words)
            log_named = torch.log(-torch.expm1(unsaid) + NAMED)
            return -(tags * log_named).sum(dim=-1).mean()


def naming_loss_of(model: SpeechCLIPModel, bank: ImageBank) -> NamingLoss:
    """The naming loss of a model's vocabulary, at twice the freezing temperature of its table.

    Args:
        model: Model with a cascaded branch.
        bank: Bank of all training images.

    Raises:
        RuntimeError: If the bank was not filled.
        ValueError: If the vocabulary has no counts.
    """
    branch = model.keyword_branch
    assert branch is not None
    rows = branch.vocabulary
    if not any(rows.counts):
        raise ValueError(
            "model_conf.naming_weight needs keyword_vocabulary as a file with counts: that of the "
            "recipe's stage 5, made from captions or from --vocab_text"
        )
    counts = [0 if i in rows.forbidden else n for i, n in zip(rows.ids, rows.counts, strict=True)]
    table = branch.table
    with torch.autocast(table.device.type, enabled=False):
        weight, bias = train_reader(model.clip, rows.ids, counts)
        tagger = ImageTagger(weight, bias, bank.filled())
    return NamingLoss(tagger, temperature=ABOVE_FREEZING * freezing_temperature(table))


def train_reader(
    clip: FrozenCLIP, ids: Sequence[int], counts: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Learns to tell a text's sub-words from its embedding, minus the mean of all embeddings.

    The texts are lists of sub-words, drawn as often as captions use them, or another text.

    Args:
        clip: CLIP with its text tower.
        ids: Token ids of the keyword vocabulary.
        counts: How often each of them occurs in that text.

    Returns:
        Weight (sub-words, E) and bias (sub-words,) of a linear layer from embeddings of length 4,
        see :data:`SCALE`, to logits. The draws have a seed of their own.
    """
    generator = torch.Generator().manual_seed(0)
    frequency = torch.tensor(counts, dtype=torch.float)
    drawn = torch.multinomial(frequency, LISTS * LONGEST, replacement=True, generator=generator)
    sizes = torch.randint(SHORTEST, LONGEST + 1, (LISTS,), generator=generator)
    lists = drawn.view(LISTS, LONGEST)  # rows of the vocabulary
    texts = [
        [ids[row] for row in rows[:size]]
        for rows, size in zip(lists.tolist(), sizes.tolist(), strict=True)
    ]
    with torch.no_grad():
        parts = [clip.encode_tokens(texts[i : i + TEXTS]) for i in range(0, LISTS, TEXTS)]
    embeddings = torch.cat(parts).float()
    inputs = F.normalize(embeddings - embeddings.mean(dim=0), dim=-1)  # (lists, E)
    dim, device = inputs.size(1), inputs.device
    lists = lists.to(device)
    shares = ((torch.arange(LONGEST) < sizes[:, None]) / sizes[:, None]).to(device)
    weight = torch.zeros(len(ids), dim, device=device, requires_grad=True)
    bias = torch.zeros(len(ids), device=device, requires_grad=True)
    optimizer = torch.optim.AdamW([weight, bias], lr=RATE)
    for step in range(STEPS):
        chosen = torch.randint(LISTS, (BATCH,), generator=generator).to(device)
        noise = NOISE / math.sqrt(dim) * torch.randn(BATCH, dim, generator=generator).to(device)
        noisy = SCALE * F.normalize(inputs[chosen] + noise, dim=-1)
        logs = F.linear(noisy, weight, bias).log_softmax(dim=-1)  # (batch, sub-words)
        logs = logs.gather(1, lists[chosen])  # (batch, places)
        loss = -(shares[chosen] * logs).sum(dim=1).mean()
        optimizer.param_groups[0]["lr"] = RATE * (1 - step / STEPS)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return weight.detach(), bias.detach()


def freezing_temperature(table: Tensor) -> float:
    r"""Temperature below which a softmax of cosines over unrelated rows picks a few of them.

    It is :math:`\sigma / \sqrt{2 \ln V}`, with :math:`\sigma` the deviation of the cosines between
    V rows, as in Derrida's random energy model (Phys. Rev. B 24, 1981).

    Args:
        table: Token embeddings, (rows, token_dim).
    """
    rows = torch.linspace(0, len(table) - 1, min(1024, len(table))).round().long()
    cosines = cosine_similarities(table[rows], table[rows])
    others = ~torch.eye(len(rows), dtype=torch.bool, device=table.device)
    return float(cosines[others].std()) / math.sqrt(2 * math.log(len(table)))
