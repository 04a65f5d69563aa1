"""Map the names of the original's weights to ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

# Original name -> ours, for the trained part. {branch} stands for parallel_branch or
# cascaded_branch.
_BRANCH = r"(?:parallel|cascaded)_branch\."
_PARALLEL = r"(?:parallel_branch\.linear_proj|cascaded_branch\.parallel_proj)"
TRAINED: tuple[tuple[str, str], ...] = (
    (r"audio_encoder\.weightedsum_layer\.weights", "layer_weighting.weights"),
    (rf"{_BRANCH}self_att\.multihead_attn_layer\.(.+)", r"attention.attention.\1"),
    (rf"{_BRANCH}self_att\.attentionBlock_Norm\.(.+)", r"attention.norm.\1"),
    (rf"{_BRANCH}self_att\.model\.layers\.(.+)", r"attention.layers.\1"),
    (rf"{_BRANCH}self_att\.model\.norm\.(.+)", r"attention.norm.\1"),
    (rf"{_PARALLEL}\.(?:sequential\.)?(\d)\.(.+)", r"parallel_projection.\1.\2"),
    (rf"{_PARALLEL}\.(weight|bias)", r"parallel_projection.0.\1"),
    (
        r"cascaded_branch\.linear_proj\.(?:sequential\.)?(\d)\.(.+)",
        r"keyword_branch.projection.\1.\2",
    ),
    (r"cascaded_branch\.linear_proj\.(weight|bias)", r"keyword_branch.projection.0.\1"),
    (r"cascaded_branch\.bn_layer\.bn_layer\.(.+)", r"keyword_branch.norm.norm.\1"),
    (r"cascaded_branch\.downsampling\.conv\.(.+)", r"keyword_branch.extractor.cif.conv.\1"),
    (
        r"cascaded_branch\.downsampling\.weight_proj\.1\.(.+)",
        r"keyword_branch.extractor.cif.weight_projection.1.\1",
    ),
)
SEPARATE_NORM = r"cascaded_branch\.bn_layer\.bn_layers\.(\d+)\.(.+)"
# Query vectors are (1, queries, dim) in the original, (queries, dim) here.
QUERIES = {
    "parallel_branch.cls": "parallel_query",
    "cascaded_branch.parallel_cls": "parallel_query",
    "cascaded_branch.cascaded_cls": "keyword_branch.extractor.queries",
}
SPEECH_ENCODER = "audio_encoder.encoder."
CLIP = "clip.model."
FULL_TABLE = "clip.original_text_emb_weight"
CLIP_COPY = "cascaded_branch.clip."
LOSS_MASKS = r"criterion\.(?:neg_)?eye_mat(?:_fl)?"  # computed when needed


@dataclass
class MappedWeights:
    """A checkpoint's weights, sorted by where they go.

    Attributes:
        trained: The trained part under our names.
        log_scale: Logarithm of the contrastive loss's scale, if it was trained.
        quantizer_temperature: The quantizer's temperature, if there is one.
        speech_encoder: Weights of the frozen encoder under fairseq's names.
        clip: Weights of the frozen CLIP under OpenAI's names, with the reduced token table.
        full_table: All token embeddings, (49408, dim), if they are stored.
        unknown: Names without a counterpart here.
        renamed: Our name of each weight of the trained part, by the original's.
    """

    trained: dict[str, Tensor] = field(default_factory=dict)
    log_scale: Tensor | None = None
    quantizer_temperature: Tensor | None = None
    speech_encoder: dict[str, Tensor] = field(default_factory=dict)
    clip: dict[str, Tensor] = field(default_factory=dict)
    full_table: Tensor | None = None
    unknown: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)

    def add_trained(self, key: str, name: str, value: Tensor) -> None:
        """Adds a weight of the trained part; a second one for the same name is unknown."""
        if name in self.trained:
            self.unknown.append(key)
        else:
            self.trained[name] = value
            self.renamed[key] = name


def map_weights(state_dict: Mapping[str, Tensor]) -> MappedWeights:
    """Sorts and renames the weights of a released checkpoint; copies and masks are left out.

    Args:
        state_dict: Weights under the original's names.
    """
    mapped = MappedWeights()
    _map_separate_norms(state_dict, mapped)
    hybrid_plus = any(key.startswith("cascaded_branch.parallel_proj.") for key in state_dict)
    for key, value in state_dict.items():
        if key in mapped.renamed or key.startswith(CLIP_COPY) or re.fullmatch(LOSS_MASKS, key):
            continue
        if key == FULL_TABLE:
            mapped.full_table = value
        elif key == "criterion.temperature":
            mapped.log_scale = value
        elif key == "cascaded_branch.vector_quantizer.curr_temp":
            mapped.quantizer_temperature = value
        elif key == "cascaded_branch.cls":
            # a hybrid+ model's only query is the parallel one; a cascaded model's are for keywords
            name = "parallel_query" if hybrid_plus else "keyword_branch.extractor.queries"
            mapped.add_trained(key, name, value[0])
        elif key in QUERIES:
            mapped.add_trained(key, QUERIES[key], value[0])
        elif key.startswith(SPEECH_ENCODER):
            mapped.speech_encoder[key.removeprefix(SPEECH_ENCODER)] = value
        elif key.startswith(CLIP):
            mapped.clip[key.removeprefix(CLIP)] = value
        else:
            _map_trained(key, value, mapped)
    return mapped


def _map_trained(key: str, value: Tensor, mapped: MappedWeights) -> None:
    for pattern, replacement in TRAINED:
        match = re.fullmatch(pattern, key)
        if match:
            mapped.add_trained(key, match.expand(replacement), value)
            return
    mapped.unknown.append(key)


def _map_separate_norms(state_dict: Mapping[str, Tensor], mapped: MappedWeights) -> None:
    """Joins the slots' batch norms to one, where channel d * slots + k is dim d of slot k."""
    parts: dict[str, dict[int, str]] = {}
    for key in state_dict:
        match = re.fullmatch(SEPARATE_NORM, key)
        if match:
            parts.setdefault(match.group(2), {})[int(match.group(1))] = key
    for name, keys in parts.items():
        ordered = [state_dict[keys[slot]] for slot in sorted(keys)]
        whole = ordered[0] if ordered[0].dim() == 0 else torch.stack(ordered, dim=1).flatten()
        mapped.trained[f"keyword_branch.norm.norm.{name}"] = whole
        mapped.renamed.update(dict.fromkeys(keys.values(), f"keyword_branch.norm.norm.{name}"))
