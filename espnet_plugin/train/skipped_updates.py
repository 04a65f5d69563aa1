"""Updates that ESPnet skips because the loss or a gradient is not finite."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn

MOST_IN_A_ROW = 20  # updates that may be skipped before a training stops


class NonFiniteTrainingError(RuntimeError):
    """Too many updates in a row were skipped: the limit, or all of an epoch."""

    def __init__(self, left_out: int) -> None:
        super().__init__(
            f"updates left out in a row: {left_out}, since the loss or the gradients are not "
            "finite: training stops.\nThe log names their utterances. Lower the learning rate "
            "(optim_conf.lr), set use_amp: false, or start from an earlier checkpoint"
        )


class SkippedUpdates:
    """Counts the skipped updates of an epoch, and logs their utterances.

    Attributes:
        total: Number of updates skipped so far.
        in_a_row: Number of updates skipped since the last one that was made.
        all_left_out: Whether no update was made so far.
    """

    def __init__(self) -> None:
        self.total = self.in_a_row = 0
        self.all_left_out = True

    def made(self) -> None:
        """Notes an update."""
        self.in_a_row = 0
        self.all_left_out = False

    def left_out(self, utterances: Sequence[str]) -> None:
        """Notes a skipped update.

        Raises:
            NonFiniteTrainingError: If it is the 20th in a row.
        """
        self.total += 1
        self.in_a_row += 1
        logging.warning(
            f"update left out, {self.total} in this epoch, {self.in_a_row} in a row: the loss or a "
            f"gradient of these utterances is not finite: {' '.join(utterances)}"
        )
        if self.in_a_row >= MOST_IN_A_ROW:
            raise NonFiniteTrainingError(self.in_a_row)

    def end_epoch(self) -> None:
        """Checks the epoch.

        Raises:
            NonFiniteTrainingError: If updates were skipped, and none was made.
        """
        if self.total and self.all_left_out:
            raise NonFiniteTrainingError(self.total)


class WatchedUpdates:
    """Gives the batches of an epoch, and logs the utterances of a skipped update.

    Attributes:
        current: Utterances of the current batch.
        skipped: The skipped updates.

    Args:
        batches: Batches of an epoch: utterance ids, and what the model takes.
        model: Model that counts its updates in ``updates_done``.
        accum_grad: Number of batches per update.
    """

    def __init__(self, batches: Any, model: nn.Module, *, accum_grad: int) -> None:
        self.batches = batches
        self.model = model
        self.accum_grad = accum_grad
        self.skipped = SkippedUpdates()
        self.current: list[str] = []

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        """Raises NonFiniteTrainingError after too many skipped updates."""
        utterances: list[str] = []
        updates = self._updates()
        for number, (ids, batch) in enumerate(self.batches, 1):
            self.current[:] = ids
            yield ids, batch
            # The trainer asks for the next batch: the current update was made or skipped.
            utterances += ids
            if number % self.accum_grad == 0:
                if self._updates() == updates:
                    self.skipped.left_out(utterances)
                else:
                    self.skipped.made()
                utterances, updates = [], self._updates()

    def _updates(self) -> int:
        return int(self.model.updates_done)
