"""The frozen models of a released checkpoint: stored once, or named when they are public."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from espnet_plugin.pretrained.convert.clip_export import (
    MODEL_FILE,
    NOT_USED,
    TABLE,
    WEIGHTS_FILE,
    write_clip,
)
from espnet_plugin.pretrained.convert.fairseq_hubert import (
    NOT_COMPARED,
    PRETRAINING_HEADS,
    map_fairseq_hubert,
    write_hubert,
)
from espnet_plugin.pretrained.convert.reference_keys import (
    CLIP,
    FULL_TABLE,
    SPEECH_ENCODER,
    MappedWeights,
)
from espnet_plugin.pretrained.convert.report import ConversionReport
from espnet_plugin.pretrained.storage_format import CLIP_DIRECTORY, SPEECH_ENCODER_DIRECTORY
from espnet_plugin.speechclip.backends.huggingface_loading import load_encoder
from espnet_plugin.speechclip.clip_config import find_weights, read_clip_config
from espnet_plugin.speechclip.clip_weights import read_clip_weights

NUM_TOKENS = 49408  # of CLIP's tokenizer


@dataclass(frozen=True)
class Teachers:
    """Public models whose weights are not stored again.

    Attributes:
        speech_encoder: Name or directory of a HuBERT of the transformers library.
        clip: open_clip's ``MODEL:TAG`` or ``MODEL:FILE``.
    """

    speech_encoder: str | None = None
    clip: str | None = None


@dataclass(frozen=True)
class TeacherWriter:
    """Writes the frozen models, enters them in the configuration and accounts for their weights."""

    mapped: MappedWeights
    config: dict[str, Any]
    report: ConversionReport
    target: Path

    def write_clip(self, public: str | None) -> Tensor:
        """Stores CLIP once, with its whole token table, or names the public model it equals.

        Returns:
            The whole token table, (V, token_dim).
        """
        weights = self.mapped.clip
        if public:
            model, _, pretrained = public.partition(":")
            conf = {"model": model, "pretrained": pretrained or "openai"}
            known, _ = read_clip_weights(find_weights(read_clip_config(model), conf["pretrained"]))
            table = self._whole_table(known)
            _check_equal({**weights, TABLE: table}, known, NOT_USED, f"CLIP {public}", "--clip")
            action, where = "left out", f"equal to {public}"
        else:
            table = self._whole_table({})
            write_clip(self.target / CLIP_DIRECTORY, weights, table)
            action, where = "stored as teacher", f"{CLIP_DIRECTORY}/{WEIGHTS_FILE}"
            conf = {"model": f"{CLIP_DIRECTORY}/{MODEL_FILE}", "pretrained": where}
        self.config["clip_conf"] = conf
        self._account_for_clip(action, where)
        return table

    def _whole_table(self, known: Mapping[str, Tensor]) -> Tensor:
        rows = self.mapped.clip[TABLE]
        table = self.mapped.full_table
        if table is None:
            table = rows if len(rows) == NUM_TOKENS else known.get(TABLE)
        if table is None:
            raise ValueError(
                "the checkpoint has a reduced token table only; the whole one can come from a "
                "public model: --clip ViT-B-32-quickgelu:openai"
            )
        return table

    def _account_for_clip(self, action: str, where: str) -> None:
        for key in self.mapped.clip:
            if key == "logit_scale":
                self.report.add("dropped", CLIP + key, "CLIP's own temperature, not used")
            elif key == TABLE and self.mapped.full_table is not None:
                self.report.add("dropped", CLIP + key, "rows of the whole token table")
            else:
                self.report.add(action, CLIP + key, where)
        if self.mapped.full_table is not None:
            self.report.add(action, FULL_TABLE, f"{where} {TABLE}")

    def write_speech_encoder(self, public: str | None) -> None:
        """Stores HuBERT in the transformers library's form, or names the public model it equals."""
        weights = self.mapped.speech_encoder
        conf = self.config["speech_encoder_conf"]
        original = conf["model"]
        if not weights:
            if not public:
                raise ValueError(
                    f"the checkpoint lacks the weights of its speech encoder ({SPEECH_ENCODER}*, "
                    f"{original}); name the public model with --speech_encoder, e.g. "
                    "facebook/hubert-base-ls960 or facebook/hubert-large-ll60k"
                )
            conf["model"] = public
            self.report.notes.append(
                f"speech encoder: not in the checkpoint ({original}), taken to be {public}"
            )
            return
        if public:
            _check_equal(
                map_fairseq_hubert(weights),
                load_encoder(public).state_dict(),
                NOT_COMPARED,
                f"speech encoder {public}",
                "--speech_encoder",
            )
            conf["model"] = public
            action, where = "left out", f"equal to {public}"
        else:
            write_hubert(self.target / SPEECH_ENCODER_DIRECTORY, weights)
            conf["model"] = SPEECH_ENCODER_DIRECTORY
            action, where = "stored as teacher", f"{SPEECH_ENCODER_DIRECTORY}/model.safetensors"
        for key in weights:
            if key.startswith(PRETRAINING_HEADS):
                self.report.add("dropped", SPEECH_ENCODER + key, "head of HuBERT's pre-training")
            else:
                self.report.add(action, SPEECH_ENCODER + key, where)


def _check_equal(
    weights: Mapping[str, Tensor],
    public: Mapping[str, Tensor],
    not_compared: Iterable[str],
    name: str,
    option: str,
) -> None:
    """Refuses weights that are not the same, bit by bit, as those of a public model."""
    differing = sorted(
        key
        for key in (weights.keys() | public.keys()) - set(not_compared)
        if key not in weights
        or key not in public
        or not torch.equal(weights[key].float(), public[key].float())
    )
    if differing:
        raise ValueError(
            f"the checkpoint does not hold the {name}: {len(differing)} weights differ "
            f"({', '.join(differing[:3])}); convert without {option} to store its own"
        )
