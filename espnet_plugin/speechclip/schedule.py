"""The learning-rate schedules of the original, as functions of the step.

Recipes use ESPnet's ``piecewiselinearwarmuplr`` for the same curve; these are for training without
ESPnet.
"""

from __future__ import annotations


def linear_warmup_decay(
    step: int, lr: float, *, warmup: int, steps: int, final: float = 1e-8
) -> float:
    """Learning rate that rises to ``lr`` and then falls to ``final``, where it stays.

    Args:
        step: Optimiser updates done.
        lr: Peak.
        warmup: Updates until the peak.
        steps: Updates until ``final``.
        final: Last value.
    """
    if step < warmup:
        return lr * (step + 1) / warmup
    share = (step + 1 - warmup) / (steps - warmup)
    return max(lr - (lr - final) * share, final)


def noam(step: int, lr: float, *, warmup: int) -> float:
    """Learning rate that rises to ``lr`` and then falls with the square root of the step.

    Attention Is All You Need (arXiv 1706.03762), eq. 3.
    """
    if step < warmup:
        return lr * (step + 1) / warmup
    return lr * (warmup / (step + 1)) ** 0.5
