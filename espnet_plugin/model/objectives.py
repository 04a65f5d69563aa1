"""What a training weighs in its loss, which a trained model does not need."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Objectives:
    """Options of the terms that :class:`~espnet_plugin.train.espnet_model.ESPnetSpeechCLIPModel`
    adds up; ``model_conf`` has them beside the model's.

    Attributes:
        parallel_weight: Factor of the parallel branch's term.
        cascaded_weight: Factor of the cascaded branch's term.
        quantity_weight: Factor of the quantity term.
        diversity_weight: Factor of the share of the keyword vocabulary that a batch leaves unused
            (not in the papers; 0 switches it off).
        bank_weight: Share of the loss over all images of the training set in each branch's
            contrastive term, see :class:`~espnet_plugin.train.image_bank.ImageBank`.
        bank_temperature: Temperature of that loss's soft targets, by default the one that
            :func:`~espnet_plugin.train.image_bank.soft_target_temperature` gives for the images.
        naming_weight: Factor of :class:`~espnet_plugin.train.naming.NamingLoss` (not in the papers;
            0 switches it off).
    """

    parallel_weight: float = 1.0
    cascaded_weight: float = 1.0
    quantity_weight: float = 0.25
    diversity_weight: float = 0.0
    bank_weight: float = 0.0
    bank_temperature: float | None = None
    naming_weight: float = 0.0
