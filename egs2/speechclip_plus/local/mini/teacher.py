"""The small CLIP, trained from scratch with open_clip's own classes on images and text."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
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

from .config import MiniConfig, TeacherConfig, random_stream, rate_factor
from .corpus import draw_corpus
from .images import Painter
from .scenes import draw_caption, draw_scene
from .teacher_text import ReducedTokenizer, keyword_list, wrong_text

VOCABULARY_SIZE = 49408
_MAX_LOGIT_SCALE = math.log(100.0)


@dataclass(frozen=True)
class TeacherBatch:
    """Images (batch, 3, height, width) with one text each, followed by texts that fit none.

    Texts are rows of the table; the first ``batch`` fit.
    """

    images: torch.Tensor
    texts: list[list[int]]


def model_config(config: TeacherConfig, *, image_size: int, vocabulary_size: int) -> dict:
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


class SceneSampler:
    """Endless new scenes with texts, without the sets of things of dev and test."""

    def __init__(self, config: MiniConfig) -> None:
        scenes, _ = draw_corpus(config)
        held_out = (*scenes["dev"].values(), *scenes["test"].values())
        self._held_out = frozenset(scene.key for scene in held_out)
        self._config = config
        self._painter = Painter(config.world, image_size=config.corpus.image_size)
        self._rng = random_stream(config.seed, "teacher scenes")
        self._tokenizer = ReducedTokenizer(config.world.words)

    def draw(self) -> TeacherBatch:
        """Draw a batch of scenes, their texts, and the wrong texts."""
        teacher, world, rng = self._config.teacher, self._config.world, self._rng
        two_objects = self._config.corpus.two_objects
        scenes = [
            draw_scene(rng, world, two_objects=two_objects, exclude=self._held_out)
            for _ in range(teacher.batch_size)
        ]
        texts: list[list[str]] = []
        longest = teacher.context_length - 2
        for scene in scenes:
            words = draw_caption(rng, world, scene, complete=rng.random() < 0.4).split()
            if rng.random() < teacher.keyword_lists:
                words = keyword_list(rng, world, words, longest=longest)
            texts.append(words)
        for index in range(round(teacher.wrong_texts * len(scenes))):
            texts.append(wrong_text(rng, world, texts[index % len(scenes)], longest=longest))
        images = np.stack([self._painter.paint(scene, rng) for scene in scenes])
        return TeacherBatch(normalise(images), self._tokenizer.encode(texts))


def normalise(images: np.ndarray) -> torch.Tensor:
    """Turn uint8 images (batch, height, width, 3) into open_clip's (batch, 3, height, width)."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255.0
    mean, std = torch.tensor(OPENAI_DATASET_MEAN), torch.tensor(OPENAI_DATASET_STD)
    return (x - mean[:, None, None]) / std[:, None, None]


def train_teacher(config: MiniConfig, root: Path) -> CLIP:
    """Train, save into ``root/clip`` and report text→image recall.

    Args:
        config: Sizes and seed.
        root: Directory of the corpus.

    Returns:
        The model with the reduced table.
    """
    torch.manual_seed(config.seed)
    tokenizer, size = ReducedTokenizer(config.world.words), config.corpus.image_size
    model = train_clip(config.teacher, SceneSampler(config).draw, tokenizer, image_size=size)
    save_clip(model, config.teacher, tokenizer, root / "clip", image_size=size, seed=config.seed)
    recalls = recall_on_test(model, config)
    logging.info(f"small CLIP: images of test found first, among five, among ten {recalls}")
    return model


def train_clip(
    config: TeacherConfig,
    draw: Callable[[], TeacherBatch],
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
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_factor(step, config))
    model.train()
    with ThreadPoolExecutor(max_workers=1) as drawer:  # one batch ahead
        following = drawer.submit(draw)
        for _ in progress(range(config.steps), description="small CLIP", unit="step"):
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


def recall_on_test(model: CLIP, config: MiniConfig) -> tuple[float, ...]:
    """Return :func:`text_to_image_recall` of the captions of mini's test split."""
    scenes, captions = draw_corpus(config)
    painter = Painter(config.world, image_size=config.corpus.image_size)
    rng = random_stream(config.seed, "teacher evaluation")
    painted = [painter.paint(scene, rng) for scene in scenes["test"].values()]
    return text_to_image_recall(
        model,
        ReducedTokenizer(config.world.words),
        dict(zip(scenes["test"], painted, strict=True)),
        [(caption.image_id, caption.english or caption.text) for caption in captions["test"]],
    )


@torch.no_grad()
def text_to_image_recall(
    model: CLIP,
    tokenizer: ReducedTokenizer,
    images: Mapping[str, np.ndarray],
    captions: Sequence[tuple[str, str]],
) -> tuple[float, ...]:
    """Return the shares of captions whose image comes first, among five and among ten.

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
    config: TeacherConfig,
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


def _optimizer(model: torch.nn.Module, config: TeacherConfig) -> torch.optim.Optimizer:
    matrices = [p for n, p in model.named_parameters() if p.ndim >= 2 and "embedding" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim < 2 or "embedding" in n]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98), eps=1e-6)
