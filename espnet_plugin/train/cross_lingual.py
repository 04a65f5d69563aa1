"""The contrastive term between languages."""

from __future__ import annotations

import torch
from torch import Tensor

from espnet_plugin.model.gather import ratio_over_ranks


def cross_lingual_loss(
    speech: Tensor, ids: Tensor, languages: Tensor, scale: Tensor, *, own: slice | None = None
) -> Tensor:
    r"""Contrastive loss between captions of the same image in different languages.

    With :math:`l = s \, a a^T`, an utterance :math:`i` and one of its image in another language,
    :math:`p`, give

    .. math:: -l_{ip} + \log \Bigl( e^{l_{ip}} + \sum_j e^{l_{ij}} \Bigr)

    where :math:`j` are the utterances of other images in the language of :math:`p`. All such pairs
    of the batch are averaged. If every image has one caption in each language, this is the mean
    over pairs of languages of the symmetric loss of M-SpeechCLIP's code (arXiv 2211.01180).

    Args:
        speech: L2-normalised embeddings, (batch, dim).
        ids: Id of each row's image, (batch,).
        languages: Number of each row's language, (batch,).
        scale: Factor :math:`s` of the similarities.
        own: Rows :math:`i`, by default all. A rank gives the rows of all ranks and its own ones.

    Returns:
        The mean over the pairs of all ranks; zero if no image of the batch has captions in two
        languages.
    """
    own = slice(0, len(speech)) if own is None else own
    with torch.autocast(speech.device.type, enabled=False):
        speech = speech.to(torch.promote_types(speech.dtype, torch.float32))
        logits = scale * speech[own] @ speech.T  # (own, batch)
        same = ids[own, None] == ids
        losses = [logits.new_zeros(0)]
        for language in languages.unique():
            columns = languages == language
            asked = languages[own] != language
            part, pairs = logits[asked][:, columns], same[asked][:, columns]  # (asked, columns)
            others = part.masked_fill(pairs, -torch.inf).logsumexp(dim=1, keepdim=True)
            losses.append((torch.logaddexp(part, others) - part)[pairs])
        pooled = torch.cat(losses)
        return ratio_over_ranks(pooled.sum(), pooled.new_full((), len(pooled)))
