"""The frozen CLIP: images, texts and sequences of soft tokens as embeddings."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from espnet_plugin.teachers.clip_config import (
    ClipConfig,
    has_bpe,
    image_transform,
    load_tokenizer,
    read_clip_config,
)
from espnet_plugin.teachers.clip_text import (
    CausalTextTower,
    SoftTokensUnsupportedError,
    is_causal_text_tower,
    normalize,
)
from espnet_plugin.teachers.clip_weights import (
    RANDOM,
    check_openai_activation,
    find_weights,
    is_image_key,
    load_towers,
    read_clip_weights,
    read_token_embedding,
)
from espnet_plugin.teachers.hub import from_cache_or_hub
from espnet_plugin.utils.constants import EOT_ID, SOT_ID

if TYPE_CHECKING:
    from PIL.Image import Image

logger = logging.getLogger(__name__)


class FrozenCLIP(nn.Module):
    """A frozen CLIP of open_clip: always in evaluation mode, without gradients.

    Args:
        model: open_clip's name of the model, or a JSON file in its configuration format.
            OpenAI's weights need a ``-quickgelu`` model.
        pretrained: open_clip's tag, or a local file (.safetensors, a pickled state dict, or
            OpenAI's own), or None or "random" for random weights (dry runs).
        cache_dir: Folder of downloaded weights, by default the libraries'.
        image_tower: Whether to keep the image tower.
        text_tower: Whether to keep the text tower.

    Raises:
        ValueError: If a name is unknown, or the weights do not fit the configuration.
        FileNotFoundError: If weights can neither be found nor downloaded.
    """

    image_tower: nn.Module | None
    text_tower: nn.Module | None

    def __init__(
        self,
        *,
        model: str,
        pretrained: str | None = None,
        cache_dir: str | Path | None = None,
        image_tower: bool = True,
        text_tower: bool = True,
    ) -> None:
        super().__init__()
        config = read_clip_config(model)
        self.config = config
        self.embedding_dim = int(config.model["embed_dim"])
        self.context_length = int(config.model["text_cfg"].get("context_length", 77))
        # Other tokenizers have other ids, and may have to be downloaded.
        self.sot_id, self.eot_id = (SOT_ID, EOT_ID) if has_bpe(config) else (-1, -1)
        self._pretrained, self._cache_dir = pretrained, cache_dir
        self.image_tower = self.text_tower = None
        if image_tower or text_tower:  # else neither weights nor open_clip are needed
            whole = self._build(image=image_tower, text=text_tower)
            self.image_tower = whole.visual if image_tower else None
            self.text_tower = self._keep_text_tower(whole) if text_tower else None
        self.requires_grad_(False)
        self.eval()

    def _build(self, *, image: bool, text: bool) -> Any:
        path = self._find_weights()
        if path is None:
            logger.warning("%s: CLIP has RANDOM weights", self.config.name)
        whole = _build(self.config, image=image, text=text)
        if path is not None:
            _load(whole, self.config, path, image=image, text=text)
        return whole

    def _find_weights(self) -> Path | None:
        if self._pretrained is None or self._pretrained == RANDOM:
            return None
        return find_weights(self.config, self._pretrained, cache_dir=self._cache_dir)

    def _keep_text_tower(self, whole: Any) -> nn.Module:
        tower = getattr(whole, "text", whole)
        if has_bpe(self.config) and is_causal_text_tower(tower, eot_id=self.eot_id):
            return CausalTextTower(tower, sot_id=self.sot_id, eot_id=self.eot_id)
        if tower is whole:
            whole.visual = None
            return _TextOf(whole)
        return tower

    @cached_property
    def tokenizer(self) -> Any:
        """open_clip's tokenizer of this model; one that is not CLIP's may need a download."""
        return load_tokenizer(self.config)

    @property
    def takes_soft_tokens(self) -> bool:
        """Whether ``encode_soft_tokens`` works: cascaded architectures need it."""
        return isinstance(self.text_tower, CausalTextTower)

    @property
    def token_embedding(self) -> Tensor:
        """The whole frozen table of token embeddings, (V, token_dim).

        Without the text tower it is read from the file of the weights.
        """
        if self.text_tower is not None:
            return self._soft_tower().token_embedding.weight
        path = self._find_weights()
        table = None if path is None else read_token_embedding(path)
        if table is None:  # random, or stored under other names
            tower = self._keep_text_tower(self._build(image=False, text=True))
            table = self._soft(tower).token_embedding.weight.detach()
        return table

    @cached_property
    def _image_transform(self) -> Any:
        return image_transform(self.config, self._pretrained)

    def train(self, mode: bool = True) -> FrozenCLIP:
        """Stays in evaluation mode."""
        return super().train(False)

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """BPE ids of each text, without SOT, EOT, padding or a limit."""
        return [list(self.tokenizer.encode(text)) for text in texts]

    def token_text(self, token_id: int) -> str:
        """A token as the vocabulary writes it, e.g. ``orange</w>``."""
        return str(self.tokenizer.decoder[int(token_id)])

    def text_of(self, token_ids: Sequence[int]) -> str:
        """Tokens as people write them, e.g. ``orange``."""
        return str(self.tokenizer.decode(list(token_ids))).strip()

    def preprocess(self, image: Image) -> Tensor:
        """Resizes, crops and normalises an image to (3, H, W) as the image tower takes it."""
        return self._image_transform(image)

    def encode_images(self, images: Tensor) -> Tensor:
        """Encodes preprocessed images (batch, 3, H, W) to (batch, E), L2-normalised."""
        tower = self._need(self.image_tower, "image")
        return normalize(tower(images))

    def encode_texts(self, texts: str | Sequence[str]) -> Tensor:
        """Encodes texts to (batch, E), L2-normalised; texts that are too long are cut.

        A string is one text, of a batch of one.
        """
        texts = [texts] if isinstance(texts, str) else texts
        tower = self._need(self.text_tower, "text")
        if isinstance(tower, CausalTextTower):
            return self.encode_tokens(self.tokenize(texts))
        device = next(tower.parameters()).device
        return normalize(tower(self.tokenizer(list(texts)).to(device)))

    def encode_tokens(self, tokens: Sequence[Sequence[int]]) -> Tensor:
        """Encodes token ids as ``tokenize`` gives them to (batch, E), L2-normalised.

        Raises:
            SoftTokensUnsupportedError: If the text tower does not read CLIP's tokens.
        """
        return normalize(self._soft_tower().encode_tokens(tokens))

    def encode_soft_tokens(
        self, tokens: Tensor, lengths: Tensor, *, kept: Tensor | None = None
    ) -> Tensor:
        """Encodes token embeddings as the text that they would be.

        They are put between SOT and EOT and read at EOT, as SpeechCLIP's cascaded branch does
        (https://arxiv.org/abs/2210.00705). Gradients reach ``tokens`` only.

        Args:
            tokens: Token embeddings, (batch, slots, token_dim).
            lengths: Number of slots that count, (batch,); 0 is the empty text.
            kept: Probability that a slot is part of the text, (batch, slots); by default all are.

        Returns:
            (batch, E), L2-normalised.

        Raises:
            ValueError: If slots + 2 exceeds the context length.
            SoftTokensUnsupportedError: If the text tower does not read CLIP's tokens.
        """
        return normalize(self._soft_tower().encode_soft_tokens(tokens, lengths, kept=kept))

    def _soft_tower(self) -> CausalTextTower:
        return self._soft(self._need(self.text_tower, "text"))

    def _soft(self, tower: nn.Module) -> CausalTextTower:
        if not isinstance(tower, CausalTextTower):
            raise SoftTokensUnsupportedError(
                f"{self.config.name} cannot read keywords: its text tower is not CLIP's. Use "
                "another clip_conf.model, or the parallel architecture, which needs no keywords"
            )
        return tower

    def _need(self, tower: nn.Module | None, name: str) -> nn.Module:
        if tower is None:
            raise RuntimeError(f"this CLIP was loaded without its {name} tower")
        return tower


class _TextOf(nn.Module):
    """The text tower of an open_clip ``CLIP`` that only the whole model can run."""

    def __init__(self, whole: nn.Module) -> None:
        super().__init__()
        self.whole: Any = whole

    def forward(self, tokens: Tensor) -> Tensor:
        """Encodes tokenised texts (batch, positions) to (batch, E)."""
        return self.whole.encode_text(tokens)


def _build(config: ClipConfig, *, image: bool, text: bool) -> nn.Module:
    """Builds open_clip's model with random weights; unwanted towers are tiny."""
    import open_clip

    options = config.with_towers(image=image, text=text)
    custom_text = options.pop("custom_text", False)
    if "multimodal_cfg" in options:
        raise ValueError(f"clip_conf.model: {config.name} is a captioning model (CoCa), not a CLIP")
    if "timm_model_name" in options["vision_cfg"]:
        options["vision_cfg"]["timm_model_pretrained"] = False
    if "hf_model_name" in options["text_cfg"]:
        custom_text = True
        options["text_cfg"]["hf_model_pretrained"] = False
        _fetch_text_config(options["text_cfg"]["hf_model_name"])
    model_class = open_clip.CustomTextCLIP if custom_text else open_clip.CLIP
    try:
        return model_class(**options)
    except TypeError as error:
        raise ValueError(f"clip_conf.model: {config.name}: {error}") from error


def _fetch_text_config(name: str) -> None:
    """Fetches the configuration of a text tower of transformers, which open_clip will read."""
    from transformers import AutoConfig

    from_cache_or_hub(
        partial(AutoConfig.from_pretrained, name, trust_remote_code=False),
        missing=f"clip_conf.model: no config.json of {name}",
        remedy=f"Run 'hf download {name}' where there is a network and copy the cache",
    )


def _load(whole: nn.Module, config: ClipConfig, path: Path, *, image: bool, text: bool) -> None:
    weights, is_openai = read_clip_weights(
        path, wanted=lambda key: image if is_image_key(key) else text
    )
    if is_openai:
        check_openai_activation(config, path)
    load_towers(whole, weights, path, image=image, text=text)
