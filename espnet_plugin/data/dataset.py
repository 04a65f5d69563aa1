"""ESPnet's dataset with errors that name the file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from espnet2.train.dataset import ESPnetDataset

from espnet_plugin.data.frame_store import FRAMES, StoredFrames
from espnet_plugin.utils.constants import SAMPLING_RATE
from espnet_plugin.utils.errors import DataError


class UnusableUtteranceError(DataError):
    """A file of an utterance is missing, unreadable or empty."""


class SpeechCLIPDataset(ESPnetDataset):
    """Names the utterance and the file that could not be used, and reads stored frames.

    ESPnet's errors name neither, so a truncated recording among 600,000 would be hard to find.

    For the type ``frames``, a list of :class:`StoredFrames`, the preprocessor gets the range [0,
    frames] and may narrow it. Only this range is read, under ``<name>`` and ``<name>_<array>``.
    """

    def _build_loader(
        self, path: str, loader_type: str, keys_to_load: set[str | int] | None
    ) -> Mapping[str, Any]:
        if loader_type == "frames":
            return StoredFrames(path)
        return super()._build_loader(path, loader_type, keys_to_load)

    def __getitem__(self, uid: str | int) -> tuple[str, dict[str, Any]]:
        try:
            uid, data = super().__getitem__(uid)
            self._check_sampling_rate()
            return uid, {**data, **self._stored_frames(uid, data)}
        except Exception as error:  # libsndfile, NumPy and PIL raise many kinds
            files = "; ".join(f"{name}: {self._file(name, uid)}" for name in self.loader_dict)
            raise UnusableUtteranceError(
                f"Utterance {uid} cannot be used: {error} [{files}]. Repair or remove the file, "
                "or run the data stages again, which leave such utterances out."
            ) from error

    def _stored_frames(self, uid: str | int, data: Mapping[str, Any]) -> dict[str, np.ndarray]:
        read = {}
        for name, loader in self.loader_dict.items():
            if isinstance(loader, StoredFrames):
                for array, values in loader.read(str(uid), *data[name]).items():
                    read[f"{name}_{array}" if array != FRAMES else name] = values
        return read

    def _check_sampling_rate(self) -> None:
        for loader in self.loader_dict.values():
            rate = getattr(loader, "rate", None)
            if rate not in (None, SAMPLING_RATE):
                raise ValueError(
                    f"sampling rate is {rate} Hz, not {SAMPLING_RATE} (stage 2 resamples)"
                )

    def _file(self, name: str, uid: str | int) -> str:
        loader = self.loader_dict[name]
        table = getattr(getattr(loader, "loader", loader), "data", None)  # of the scp readers
        path = table.get(uid) if isinstance(table, dict) else None
        source = self.debug_info[name][0]
        return f"{path} (listed in {source})" if isinstance(path, str) else str(source)
