"""Naming: what an utterance's sub-words do to a caption must point at its image.

The cascaded branch's gradient reaches a sub-word only through CLIP's text tower, which reads
mixtures that no text contains. Here the text tower is linear: each sub-word has an effect, and a
caption's embedding is the sum of the effects of the sub-words in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from espnet_plugin.speechclip.clip import FrozenCLIP
from espnet_plugin.speechclip.model import SpeechCLIPModel
from espnet_plugin.speechclip.quantizer import cosine_similarities
from espnet_plugin.train.image_bank import ImageBank

CONTEXTS, CONTEXT_LENGTH = 8, 8
BATCH = 512  # texts at once
ABOVE_FREEZING = 2.0


class NamingLoss(nn.Module):
    r"""Cross-entropy of each utterance over all training images, read as a bag of sub-words.

    :math:`p_n(i)` is the softmax of keyword n's cosines over the sub-words i, and :math:`d_i` the
    effect of sub-word i, see :func:`token_effects`. A sub-word counts once, however often it is
    named:

    .. math:: b = \sum_i \bigl(1 - e^{-\sum_n p_n(i)}\bigr) \, d_i, \qquad
              L = -\log \frac{\exp(s \cos(b, v_p - \bar v))}{\sum_j \exp(s \cos(b, v_j - \bar v))}

    :math:`v_j` are the images of the bank, :math:`\bar v` their mean, p the utterance's image.

    Args:
        effects: Of :func:`token_effects`, (rows, E).
        temperature: Of the softmax over the sub-words, see :func:`freezing_temperature`.
    """

    effects: Tensor

    def __init__(self, effects: Tensor, *, temperature: float) -> None:
        super().__init__()
        self.register_buffer("effects", effects, persistent=False)
        self.temperature = temperature

    def forward(
        self, cosines: Tensor, said: Tensor, bank: ImageBank, ids: Tensor, scale: Tensor
    ) -> Tensor:
        """Mean over the batch.

        Args:
            cosines: Of each keyword to each sub-word, minus infinity where it must not be chosen,
                (batch, slots, rows).
            said: Probability that a slot names anything, 0 at padding, (batch, slots).
            bank: All training images, filled.
            ids: Images of the utterances, (batch,).
            scale: Inverse temperature s; it gets no gradient.
        """
        rows = bank.rows_of(ids)  # (batch,)
        with torch.autocast(cosines.device.type, enabled=False):
            named = (cosines.float() / self.temperature).softmax(dim=-1)  # (batch, slots, rows)
            counts = torch.einsum("bs,bsr->br", said, named)  # (batch, rows)
            bags = F.normalize((1 - torch.exp(-counts)) @ self.effects, dim=-1)  # (batch, E)
            logits = scale.detach() * bank.centred_cosines(bags)  # (batch, images)
        return F.cross_entropy(logits, rows)


def naming_loss_of(model: SpeechCLIPModel) -> NamingLoss:
    """The naming loss of a model's vocabulary, at twice the freezing temperature of its table."""
    assert model.vocabulary is not None  # as the model has keywords
    table = model.token_table
    with torch.autocast(table.device.type, enabled=False):
        effects = token_effects(model.clip, model.vocabulary.ids)
    return NamingLoss(effects, temperature=ABOVE_FREEZING * freezing_temperature(table))


@torch.no_grad()
def token_effects(clip: FrozenCLIP, ids: Sequence[int], *, contexts: int = CONTEXTS) -> Tensor:
    r"""How far each sub-word moves the embedding of a text that it is put into.

    .. math:: d_i = \frac 1 C \sum_{c=1}^{C} T(c \oplus i) - \text{the mean of this over all } i

    T is CLIP's text tower and :math:`c \oplus i` a list of eight sub-words drawn from ``ids``, with
    sub-word i put in at a random place. The embedding of the sub-word alone would not do: alone, a
    function word is as far from the mean as any other; in a list it moves the embedding little.

    Args:
        clip: With its text tower.
        ids: Sub-words of the keyword vocabulary.
        contexts: Number of lists, C.

    Returns:
        (sub-words, E), on the text tower's device. Always the same: the draw has a seed of its own.
    """
    generator = torch.Generator().manual_seed(0)
    effects = []
    for _ in range(contexts):
        drawn = torch.randint(len(ids), (CONTEXT_LENGTH,), generator=generator).tolist()
        context = [ids[row] for row in drawn]
        place = int(torch.randint(CONTEXT_LENGTH + 1, (1,), generator=generator))
        texts = [[*context[:place], token, *context[place:]] for token in ids]
        batches = [clip.encode_tokens(texts[i : i + BATCH]) for i in range(0, len(ids), BATCH)]
        effects.append(torch.cat(batches))
    mean = torch.stack(effects).mean(dim=0)  # (sub-words, E)
    return mean - mean.mean(dim=0)


def freezing_temperature(table: Tensor) -> float:
    r"""Below it, a softmax of cosines over unrelated rows picks a few of them.

    :math:`\sigma / \sqrt{2 \ln V}`, with :math:`\sigma` the deviation of the cosines between V
    rows: that of Derrida's random energy model (Phys. Rev. B 24, 1981).

    Args:
        table: Token embeddings, (rows, token_dim).
    """
    rows = torch.linspace(0, len(table) - 1, min(1024, len(table))).round().long()
    cosines = cosine_similarities(table[rows], table[rows])
    others = ~torch.eye(len(rows), dtype=torch.bool, device=table.device)
    return float(cosines[others].std()) / math.sqrt(2 * math.log(len(table)))
