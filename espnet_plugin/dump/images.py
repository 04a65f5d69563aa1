"""Embeddings of pictures by the frozen CLIP."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from espnet_plugin.dump.store import ArrayStore
from espnet_plugin.speechclip.clip import FrozenCLIP
from espnet_plugin.utils.progress import progress


class PictureFiles(Dataset):
    """Decoded pictures by index; what cannot be decoded comes as the reason."""

    def __init__(self, files: Sequence[tuple[str, str]], clip: FrozenCLIP) -> None:
        self.files = files
        self.preprocess = clip.preprocess

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[str, Tensor | str]:
        from PIL import Image

        key, path = self.files[index]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # odd EXIF data is none of our business
                with Image.open(path) as image:
                    return key, self.preprocess(image.convert("RGB"))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            return key, f"{path}: {' '.join(str(error).split())}"


def dump_image_embeddings(
    pictures: Mapping[str, str],
    clip: FrozenCLIP,
    store: ArrayStore,
    *,
    batch_size: int = 64,
    num_workers: int = 0,
) -> dict[str, str]:
    """Embeds the pictures that have no embedding yet.

    Args:
        pictures: Image id → file.
        clip: With its image tower.
        store: Where the embeddings go, float32 (dim,), L2-normalised.
        batch_size: Pictures at a time.
        num_workers: Processes that decode pictures.

    Returns:
        Image id → reason of the pictures that could not be read; they are skipped.
    """
    todo = [(key, pictures[key]) for key in store.missing(pictures)]
    done = len(pictures) - len(todo)
    logging.info(f"{len(todo)} pictures to embed" + (f", {done} already are" if done else ""))
    unreadable: dict[str, str] = {}
    device = next(clip.parameters()).device
    loader: DataLoader = DataLoader(
        PictureFiles(todo, clip),
        batch_size=batch_size,
        num_workers=num_workers,
        collate_fn=_split_unreadable,
    )
    shown = progress(loader, description="image embeddings", unit="batch")
    for keys, pixels, reasons in shown:
        for key, reason in reasons.items():
            logging.warning(f"skipped unreadable picture {key}: {reason}")
        unreadable |= reasons
        for key, embedding in _embed(clip, keys, pixels, device):
            store.save(key, embedding.numpy())
    return unreadable


def _split_unreadable(
    items: Sequence[tuple[str, Tensor | str]],
) -> tuple[list[str], list[Tensor], dict[str, str]]:
    good = [(key, value) for key, value in items if not isinstance(value, str)]
    bad = {key: value for key, value in items if isinstance(value, str)}
    return [key for key, _ in good], [value for _, value in good], bad


@torch.no_grad()
def _embed(
    clip: FrozenCLIP, keys: Sequence[str], pixels: Sequence[Tensor], device: torch.device
) -> Iterator[tuple[str, Tensor]]:
    if not keys:
        return
    embeddings = clip.encode_images(torch.stack(list(pixels)).to(device))  # (batch, dim)
    yield from zip(keys, embeddings.float().cpu(), strict=True)
