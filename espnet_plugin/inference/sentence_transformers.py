"""An exported model in sentence-transformers: its ``modules.json`` names the class of this file."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from espnet_plugin.inference.speechclip import Branch, SpeechCLIP
from espnet_plugin.media.audio import is_recording
from espnet_plugin.media.images import is_image
from espnet_plugin.utils.scratch import scratch_folder

try:
    from sentence_transformers.base.modality import infer_modality
    from sentence_transformers.base.modules import InputModule
except ModuleNotFoundError as error:
    raise ImportError(
        "sentence-transformers 5.4 or later is needed: pip install -U sentence-transformers "
        f"(extra: sentence-transformers); {error}"
    ) from error

MODALITIES = ("audio", "image", "text")
_OF_THE_HUB = ("subfolder", "token", "cache_folder", "revision", "local_files_only")


class SpeechCLIPModule(InputModule):
    """Embeds what ``SentenceTransformer.encode`` is given as ``speechclip`` does; no training."""

    forward_kwargs = {"branch", "trim"}  # of recordings; arguments of encode
    modalities = [*MODALITIES, "message"]  # the library's word for a mixed batch

    def __init__(self, speechclip: SpeechCLIP) -> None:
        super().__init__()
        self.speechclip = speechclip
        self.network = speechclip._model  # sentence-transformers moves it and counts its weights

    @classmethod
    def load(cls, model_name_or_path: str, **options: Any) -> SpeechCLIPModule:
        """Loads an exported directory or ``owner/model`` by :meth:`SpeechCLIP.from_pretrained`.

        That also gets ``trust_remote_code`` and what is in ``model_kwargs``.
        """
        hub = {name: options[name] for name in _OF_THE_HUB if name in options}
        source = cls.load_dir_path(model_name_or_path, **hub) or model_name_or_path
        more = {"trust_remote_code": options.get("trust_remote_code", False), "device": "cpu"}
        more |= options.get("model_kwargs") or {}
        return cls(SpeechCLIP.from_pretrained(source, **more))

    def save(self, output_path: str, *_: Any, **__: Any) -> None:
        """Writes what :meth:`SpeechCLIP.save_pretrained` does."""
        with scratch_folder() as folder:  # it may go where it came from
            self.speechclip.save_pretrained(folder / Path(output_path).name)
            shutil.copytree(folder / Path(output_path).name, output_path, dirs_exist_ok=True)

    def get_embedding_dimension(self) -> int:
        """Length of a row."""
        return self.speechclip.embedding_dim

    def preprocess(self, inputs: list[Any], prompt: str | None = None, **_: Any) -> dict[str, Any]:
        """Sorts the items by modality; ``prompt`` goes before texts. Files are read in ``forward``.

        A string without spaces that ends like a recording or an image is a file; to embed it as a
        text, give ``{"text": …}``.
        """
        return {"items": [_parts(item, prompt or "") for item in inputs]}

    @torch.inference_mode(False)  # which encode is in; CLIP is loaded here, as ordinary tensors
    def forward(
        self, features: dict[str, Any], branch: Branch | None = None, trim: bool = True
    ) -> dict[str, Any]:
        """Adds ``sentence_embedding``, unit rows (items, dim); an item's parts are added up.

        What :class:`SpeechCLIP` raises names the recording, the image or the branch.
        """
        model, items = self.speechclip, features["items"]
        model.to(next(self.network.parameters()).device)
        rows = np.zeros((len(items), model.embedding_dim), np.float32)
        encode_speech = partial(model.encode_speech, branch=branch, trim=trim)
        encoders = (encode_speech, model.encode_image, model.encode_text)
        for name, encode in zip(MODALITIES, encoders, strict=True):
            chosen = [row for row, item in enumerate(items) if name in item]
            if chosen:
                rows[chosen] += encode([items[row][name] for row in chosen])
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return {**features, "sentence_embedding": torch.from_numpy(rows).to(model.device)}


def _parts(item: Any, prompt: str) -> dict[str, Any]:
    """What an item holds, by modality."""
    if isinstance(item, Path) or _names_a_file(item):
        return {"image" if is_image(item) else "audio": item}
    if not (isinstance(item, dict) and item and item.keys() <= set(MODALITIES)):
        modality = infer_modality(item, supported_modalities=list(MODALITIES))
        if modality not in MODALITIES:
            raise ValueError(f"{str(item)[:80]}: is {modality}, not {', '.join(MODALITIES)}")
        item = {modality: item}
    return {**item, "text": prompt + item["text"]} if prompt and "text" in item else item


def _names_a_file(item: Any) -> bool:
    """Whether a string can only be meant as a recording or an image, even if there is none.

    The library takes it for a text if there is no such file, or if it does not know the suffix.
    """
    named = isinstance(item, str) and (is_image(item) or is_recording(item))
    return named and (len(item.split()) == 1 or os.path.isfile(item))
