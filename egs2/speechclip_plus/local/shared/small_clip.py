"""A small CLIP for a corpus, trained from scratch with open_clip's classes on images and text."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.model import CLIP
from safetensors.torch import save

from espnet_plugin.evaluation.retrieval import rank_embeddings, summarize
from espnet_plugin.teachers.clip_text import CausalTextTower
from espnet_plugin.utils.atomic import atomic_path, write_text
from espnet_plugin.utils.progress import progress

from .reduced_tokenizer import ReducedTokenizer

VOCABULARY_SIZE = 49408
_MAX_LOGIT_SCALE = math.log(100.0)


@dataclass(frozen=True)
class SmallClipConfig:
    """The small CLIP and its training.

    Attributes:
        vision_layers: Number of layers of a ViT, or a tuple with the blocks of a ResNet's four
            stages. The ResNet learns hundreds of glyphs in a quarter of the updates.
        vision_width: Width of the ViT, or of the ResNet's first stage.
        text_layers: Number of layers of the text tower. One layer reads a text almost word by word:
            no sequence of wrong words then describes an image better than the right ones. It also
            learns faster than three.
        keyword_lists: Share of captions that are turned into keyword lists.
        wrong_texts: Number of texts with wrong content words for each image, as its negatives.
    """

    steps: int = 480
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 0.1
    warmup_steps: int = 60
    embedding_dim: int = 128
    vision_width: int = 128
    vision_layers: int | tuple[int, ...] = 4
    patch_size: int = 16
    text_width: int = 128
    text_layers: int = 1
    text_heads: int = 4
    context_length: int = 32
    keyword_lists: float = 0.5
    wrong_texts: float = 1.0


@dataclass(frozen=True)
class ImageTextBatch:
    """Images (batch, 3, height, width) with one text each, followed by texts that fit none.

    Texts are rows of the table; the first ``batch`` fit.
    """

    images: torch.Tensor
    texts: list[list[int]]


def model_config(config: SmallClipConfig, *, image_size: int, vocabulary_size: int) -> dict:
    """Return the model in open_clip's configuration format."""
    vision = {
        "image_size": image_size,
        "layers": config.vision_layers,
        "width": config.vision_width,
    }
    if isinstance(config.vision_layers, int):
        vision |= {"head_width": 32, "patch_size": config.patch_size}
    return {
        "embed_dim": config.embedding_dim,
        "quick_gelu": False,
        "vision_cfg": vision,
        "text_cfg": {
            "context_length": config.context_length,
            "vocab_size": vocabulary_size,
            "width": config.text_width,
            "heads": config.text_heads,
            "layers": config.text_layers,
        },
    }


def normalise(images: np.ndarray) -> torch.Tensor:
    """Turn uint8 images (batch, height, width, 3) into open_clip's (batch, 3, height, width)."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255.0
    mean, std = torch.tensor(OPENAI_DATASET_MEAN), torch.tensor(OPENAI_DATASET_STD)
    return (x - mean[:, None, None]) / std[:, None, None]


def train_clip(
    config: SmallClipConfig,
    draw: Callable[[], ImageTextBatch],
    tokenizer: ReducedTokenizer,
    *,
    image_size: int,
) -> CLIP:
    """Train a small CLIP with its symmetric contrastive loss, from torch's random state.

    Args:
        config: Sizes of the model and of its training.
        draw: Function that gives a new batch at each call.
        tokenizer: Tokenizer of the texts.
        image_size: Side of the images in pixels.

    Returns:
        The model with the tokenizer's table.
    """
    model = CLIP(**model_config(config, image_size=image_size, vocabulary_size=tokenizer.size))
    text_tower = CausalTextTower(model, sot_id=tokenizer.sot, eot_id=tokenizer.eot)
    optimizer = _optimizer(model, config)
    factor = partial(rate_factor, steps=config.steps, warmup_steps=config.warmup_steps)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    model.train()
    with ThreadPoolExecutor(max_workers=1) as drawer:  # one batch ahead
        following = drawer.submit(draw)
        for _ in progress(range(config.steps), description="small CLIP", unit="update"):
            batch, following = following.result(), drawer.submit(draw)
            images = F.normalize(model.encode_image(batch.images), dim=-1)
            texts = F.normalize(text_tower.encode_tokens(batch.texts), dim=-1)
            logits = model.logit_scale.exp() * images @ texts.T  # (batch, texts)
            target = torch.arange(len(images))
            to_image = F.cross_entropy(logits[:, : len(images)].T, target)
            loss = (F.cross_entropy(logits, target) + to_image) / 2
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                model.logit_scale.clamp_(0.0, _MAX_LOGIT_SCALE)
    return model


@torch.no_grad()
def text_to_image_recall(
    model: CLIP,
    tokenizer: ReducedTokenizer,
    images: Mapping[str, np.ndarray],
    captions: Sequence[tuple[str, str]],
) -> tuple[float, ...]:
    """Return R@1, R@5 and R@10 of images that captions search.

    Args:
        model: Model with the tokenizer's table.
        tokenizer: Tokenizer of the captions.
        images: Pixels of each image id, uint8 (height, width, 3).
        captions: Image id and text of each caption.
    """
    model.eval()
    embedded = F.normalize(model.encode_image(normalise(np.stack([*images.values()]))), dim=-1)
    text_tower = CausalTextTower(model, sot_id=tokenizer.sot, eot_id=tokenizer.eot)
    rows = tokenizer.encode([text.split() for _, text in captions])
    texts = F.normalize(text_tower.encode_tokens(rows), dim=-1)
    model.train()
    ranks, _ = rank_embeddings(
        texts.numpy(), embedded.numpy(), [image for image, _ in captions], list(images)
    )
    return tuple(round(recall, 4) for recall in summarize(ranks).recall.values())


def save_clip(
    model: CLIP,
    config: SmallClipConfig,
    tokenizer: ReducedTokenizer,
    directory: Path,
    *,
    image_size: int,
    seed: int,
) -> None:
    """Write ``mini_clip.json`` and ``mini_clip.safetensors`` with the full table of CLIP's rows.

    Rows of sub-words that the tokenizer lacks are random.
    """
    state = {name: value.detach().contiguous() for name, value in model.state_dict().items()}
    reduced = state["token_embedding.weight"]
    used = reduced[1:]  # row 0 pads and has no counterpart
    generator = torch.Generator().manual_seed(seed)
    full = torch.randn(VOCABULARY_SIZE, reduced.shape[1], generator=generator) * used.std()
    full[torch.tensor(tokenizer.full_ids)] = used
    state["token_embedding.weight"] = full
    settings = model_config(config, image_size=image_size, vocabulary_size=VOCABULARY_SIZE)
    write_text(directory / "mini_clip.json", json.dumps(settings, indent=2) + "\n")
    with atomic_path(directory / "mini_clip.safetensors") as temporary:
        temporary.write_bytes(save(state))


def rate_factor(step: int, *, steps: int, warmup_steps: int) -> float:
    """The share of the highest learning rate, which rises linearly and falls as half a cosine."""
    warm = min(1.0, (step + 1) / max(warmup_steps, 1))
    return warm * 0.5 * (1.0 + math.cos(math.pi * min(1.0, step / max(steps, 1))))


def _optimizer(model: torch.nn.Module, config: SmallClipConfig) -> torch.optim.Optimizer:
    matrices = [p for n, p in model.named_parameters() if p.ndim >= 2 and "embedding" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim < 2 or "embedding" in n]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98), eps=1e-6)
