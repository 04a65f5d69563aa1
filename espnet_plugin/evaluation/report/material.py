"""Files and texts of a set's utterances and images."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from espnet_plugin.data.datadir import WORDS_CTM
from espnet_plugin.data.inference_set import InferenceSet
from espnet_plugin.data.keyword_file import UtteranceKeywords
from espnet_plugin.data.scp import read_scp
from espnet_plugin.data.words import SpokenWord
from espnet_plugin.evaluation.alignments import read_ctm
from espnet_plugin.utils.errors import DataError


@dataclass(frozen=True)
class Material:
    """Files and texts by id; each may be empty.

    Attributes:
        audio: Path of an utterance's recording.
        images: Path of an image.
        captions: Caption of an utterance.
        described: First caption of an image.
        keywords: The model's keywords of an utterance.
    """

    audio: Mapping[str, str]
    images: Mapping[str, str]
    captions: Mapping[str, str]
    described: Mapping[str, str]
    keywords: Mapping[str, UtteranceKeywords]


def read_material(data: InferenceSet, data_dir: Path | None) -> Material:
    """Reads wav.scp, image.scp and text of a data directory."""

    def read(name: str) -> dict[str, str]:
        return read_scp(data_dir / name) if data_dir and (data_dir / name).exists() else {}

    captions = {u.utterance: u.caption for u in data.captioned_keywords} | read("text")
    described: dict[str, str] = {}
    for utterance, image in zip(data.utterances, data.image_of, strict=True):
        if captions.get(utterance):
            described.setdefault(image, captions[utterance])
    return Material(
        audio=read("wav.scp"),
        images=read("image.scp"),
        captions=captions,
        described=described,
        keywords={u.utterance: u for u in data.captioned_keywords},
    )


def read_words(data_dir: Path | None) -> dict[str, list[SpokenWord]]:
    """Reads the word alignments of a data directory; none if they are missing or damaged."""
    if data_dir is None or not (data_dir / WORDS_CTM).exists():
        return {}
    try:
        return read_ctm(data_dir / WORDS_CTM)
    except DataError as error:
        logging.warning(f"recordings are drawn without word alignments: {error}")
        return {}
