"""The model as ESPnet's trainer sees it: from a batch to a loss and its statistics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from espnet2.torch_utils.device_funcs import force_gatherable
from espnet2.train.abs_espnet_model import AbsESPnetModel
from torch import Tensor, nn

from espnet_plugin.model.bounds import keep_in_bounds
from espnet_plugin.model.cif import quantity_loss
from espnet_plugin.model.gather import (
    gather_features,
    mean_over_ranks,
    own_rows,
)
from espnet_plugin.model.keywords import Keywords
from espnet_plugin.model.model import SpeechCLIPModel
from espnet_plugin.model.objectives import Objectives
from espnet_plugin.model.output import SpeechOutput
from espnet_plugin.model.quantizer import diversity_loss, perplexity, token_usage
from espnet_plugin.teachers.speech_batch import SpeechBatch
from espnet_plugin.train.frozen_state import leave_out_of_broadcasts, leave_out_of_checkpoints
from espnet_plugin.train.image_bank import ImageBank
from espnet_plugin.train.naming import NamingLoss, naming_loss_of
from espnet_plugin.utils.padding import padding_mask

DIVERSITY_TEMPERATURE = 0.05  # of the softmax of a batch's use of the vocabulary

Losses = tuple[Tensor, dict[str, Tensor], Tensor]


@dataclass(frozen=True)
class EncodedBatch:
    """Both sides of a batch.

    Attributes:
        speech: Output of the speech side.
        images: Image embeddings, L2-normalised, (batch, dim).
        image_ids: Number of each utterance's image, (batch,).
        target_lengths: Wanted number of keywords, (batch,); None if the architecture has none.
    """

    speech: SpeechOutput
    images: Tensor
    image_ids: Tensor
    target_lengths: Tensor | None


class ESPnetSpeechCLIPModel(AbsESPnetModel):
    """SpeechCLIP(+) with its objectives.

    loss = parallel_weight * contrastive(parallel, image)
         + cascaded_weight * contrastive(cascaded, image)
         + quantity_weight * | predicted number of keywords - target |
         + diversity_weight * share of the vocabulary that the batch leaves unused
         + naming_weight * naming loss

    with the terms of the branches that exist (SpeechCLIP+, arXiv 2402.06959). In distributed
    training the negatives of the contrastive terms are from all ranks, and so are the counts of the
    share. ``bank_weight`` b replaces contrastive by (1 - b) * contrastive + b * bank_loss.

    Args:
        speechclip: The model in plain PyTorch.
        loss: The contrastive term. Both branches share it and its temperature, as in the original.
        objectives: Factors of the terms, and options of the bank's.
    """

    extract_feats_in_collect_stats = False

    def __init__(
        self,
        speechclip: SpeechCLIPModel,
        loss: nn.Module,
        objectives: Objectives,
    ) -> None:
        super().__init__()
        self.speechclip = speechclip
        self.loss = loss
        self.objectives = objectives
        self.naming_loss: NamingLoss | None = None
        self.image_bank: ImageBank | None = None
        if objectives.bank_weight or self.names_images:
            self.image_bank = ImageBank(temperature=objectives.bank_temperature)
        # Optimiser updates done. Float, since ESPnet's checkpoint averaging sums integer tensors.
        self.register_buffer("num_updates", torch.zeros(()))
        self.updates_done = 0  # the same on the host, which then need not wait for the device
        self.register_load_state_dict_post_hook(lambda model, _: model.look_up_updates())
        frozen, kept = (
            [f"speechclip.{name}" for name in names]
            for names in (speechclip.frozen_prefixes, speechclip.trained_in_encoder)
        )
        leave_out_of_checkpoints(self, frozen, kept=frozenset(kept))
        leave_out_of_broadcasts(self)

    @property
    def names_images(self) -> bool:
        """Whether training compares keywords with tags of the images."""
        return bool(self.objectives.naming_weight) and self.speechclip.keyword_branch is not None

    def prepare_naming(self) -> None:
        """Prepares the tags of images, if ``naming_weight`` needs them.

        Call it before the first update, where the model will train, with a filled bank.
        """
        if self.names_images:
            assert self.image_bank is not None
            self.naming_loss = naming_loss_of(self.speechclip, self.image_bank)
            leave_out_of_broadcasts(self)  # its tables, too

    def end_update(self) -> None:
        """Counts an update and applies bounds; called by the optimizer (see ``SpeechCLIPTask``)."""
        self.num_updates.add_(1)
        self.updates_done += 1
        keep_in_bounds(self)

    def look_up_updates(self) -> None:
        """Sets the host's count to ``num_updates`` after that was loaded or set."""
        self.updates_done = int(self.num_updates)

    def forward(self, **batch: Any) -> Losses:
        """Computes the loss of a batch.

        Args:
            **batch: Arguments of :meth:`encode`.

        Returns:
            The loss, statistics, and the number of utterances as weight.
        """
        return self.objective(self.encode(**batch))

    @torch.no_grad()
    def evaluate(self, **batch: Any) -> tuple[dict[str, Tensor], Losses]:
        """Embeddings of a batch for retrieval over a whole set, and its loss, in one pass.

        Returns:
            ``image``, ``image_id`` and one entry per branch, and what :meth:`forward` returns.
        """
        encoded = self.encode(**batch)
        embeddings = {"image": encoded.images, "image_id": encoded.image_ids}
        return embeddings | branch_embeddings(encoded.speech), self.objective(encoded)

    def encode(
        self,
        *,
        speech: SpeechBatch,
        image: Tensor,
        image_id: Tensor,
        text_lengths: Tensor | None = None,
        **_: Any,
    ) -> EncodedBatch:
        """Runs both sides of a batch; in training the rows of a large one are reordered.

        Args:
            speech: Waveforms or stored hidden states.
            image: Image embeddings (batch, dim), or pixels (batch, 3, height, width).
            image_id: Number of each utterance's image, (batch,) or (batch, 1).
            text_lengths: Number of sub-words of each caption, (batch,).
            **_: Other entries (``utt_id``, ``text``), which are not used.
        """
        encoder = self.speechclip.speech_encoder
        if self.training:
            states, order = encoder.in_parts(speech)
        else:
            states, order = [encoder.hidden_states(speech)], None
        if order is not None:
            image, image_id = image[order], image_id[order]
            text_lengths = None if text_lengths is None else text_lengths[order]
        lengths = torch.cat([part.lengths for part in states])  # (batch,)
        branch, targets = self.speechclip.keyword_branch, None
        if branch is not None:
            targets = branch.extractor.target_lengths(lengths, text_lengths)
        output = self.speechclip(*states, target_lengths=targets, step=self.updates_done)
        images = self.encode_images(image)
        return EncodedBatch(output, images, image_id.reshape(-1), targets)

    @torch.no_grad()
    def encode_images(self, image: Tensor) -> Tensor:
        """L2-normalised embeddings (batch, dim) of the ``image`` of :meth:`encode`."""
        if image.dim() == 4:
            image = self.speechclip.clip.encode_images(image)  # (batch, dim)
        return nn.functional.normalize(image.float(), dim=-1)

    def objective(self, encoded: EncodedBatch) -> Losses:
        """Weighted sum of the objectives, with statistics."""
        speech = encoded.speech
        images = gather_features(encoded.images)
        image_ids = gather_features(encoded.image_ids)
        own = own_rows(encoded.images)
        bank = self.image_bank if self.training else None
        loss = images.new_zeros(())
        stats: dict[str, Tensor] = {}
        chosen = self.objectives
        weights = {"parallel": chosen.parallel_weight, "cascaded": chosen.cascaded_weight}
        for branch, embeddings in branch_embeddings(speech).items():
            gathered = gather_features(embeddings)
            term = self.loss(gathered, images, image_ids, own=own)
            if bank is not None and chosen.bank_weight:
                against_all = bank(embeddings, encoded.image_ids, self.loss.scale)
                term = torch.lerp(term, against_all, chosen.bank_weight)
            loss = loss + weights[branch] * term
            stats[f"loss_{branch}"] = term
            stats[f"accuracy_{branch}"] = batch_accuracy(
                embeddings, encoded.image_ids, images, image_ids
            )
        stats["temperature"] = 1 / self.loss.scale
        if speech.keywords is not None:
            loss = loss + self._keyword_terms(encoded, stats)
        stats["loss"] = loss
        stats = {name: value.detach().float() for name, value in stats.items()}
        weight = encoded.image_ids.new_full((), len(encoded.images))
        return force_gatherable((loss, stats, weight), loss.device)

    def _keyword_terms(self, encoded: EncodedBatch, stats: dict[str, Tensor]) -> Tensor:
        """Adds the keywords' statistics and returns the sum of their weighted terms."""
        keywords, branch = encoded.speech.keywords, self.speechclip.keyword_branch
        assert keywords is not None and branch is not None
        total = encoded.images.new_zeros(())
        stats["keywords"] = keywords.lengths.float().mean()
        if keywords.reading is not None:
            stats["keywords"] = keywords.reading.kept.sum(dim=1).mean()
        stats["code_perplexity"] = keywords.quantized.code_perplexity
        temperature = branch.quantizer.current_temperature(self.updates_done)
        stats["quantizer_temperature"] = temperature.reshape(())
        if self.objectives.diversity_weight:
            term = self._unused_share(keywords)
            stats["loss_diversity"] = term
            total = total + self.objectives.diversity_weight * term
        if keywords.cif is not None and encoded.target_lengths is not None:
            term = quantity_loss(keywords.cif.alpha_sum, encoded.target_lengths)
            stats["loss_quantity"] = term
            stats["target_keywords"] = encoded.target_lengths.float().mean()
            total = total + self.objectives.quantity_weight * term
        if self.objectives.naming_weight and self.training:
            term = self._naming(keywords, encoded.images)
            stats["loss_naming"] = term
            total = total + self.objectives.naming_weight * term
        return total

    def _naming(self, keywords: Keywords, images: Tensor) -> Tensor:
        if self.naming_loss is None:
            raise RuntimeError(
                "model_conf.naming_weight: call prepare_naming before the first update"
            )
        similarities = keywords.quantized.similarities
        if keywords.reading is None:
            said = (~padding_mask(keywords.lengths, similarities.size(1))).float()
        else:
            said = keywords.reading.said
        return self.naming_loss(similarities, said, images)

    def _unused_share(self, keywords: Keywords) -> Tensor:
        """Share of the keyword vocabulary that the batch leaves unused."""
        similarities = keywords.quantized.similarities
        usage = token_usage(similarities, keywords.lengths, temperature=DIVERSITY_TEMPERATURE)
        usage = mean_over_ranks(usage, keywords.lengths.sum())  # (rows,)
        return diversity_loss(perplexity(usage), similarities.size(-1))

    def collect_feats(self, **batch: Any) -> dict[str, Tensor]:
        """Returns nothing, because only lengths are used, no statistics of features."""
        return {}


def branch_embeddings(speech: SpeechOutput) -> dict[str, Tensor]:
    """Embeddings (batch, dim) of the existing branches, by name."""
    found = {"parallel": speech.parallel, "cascaded": speech.cascaded}
    return {branch: embedding for branch, embedding in found.items() if embedding is not None}


@torch.no_grad()
def batch_accuracy(speech: Tensor, wanted_ids: Tensor, images: Tensor, image_ids: Tensor) -> Tensor:
    """Share of utterances whose nearest image of the batch is the right one.

    Args:
        speech: Embeddings of the utterances, L2-normalised, (utterances, dim).
        wanted_ids: Number of the right image of each utterance, (utterances,).
        images: Embeddings of the images, L2-normalised, (batch, dim).
        image_ids: Number of each image, (batch,).
    """
    nearest = (speech.float() @ images.float().T).argmax(dim=1)  # (utterances,)
    return (image_ids[nearest] == wanted_ids).float().mean()
