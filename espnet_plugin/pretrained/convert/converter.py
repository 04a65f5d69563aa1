"""Convert a released checkpoint into a directory that this package loads."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from espnet_plugin.pretrained.convert.checkpoint import ReleasedCheckpoint, read_released_checkpoint
from espnet_plugin.pretrained.convert.clip_export import (
    MODEL_FILE,
    TABLE,
    WEIGHTS_FILE,
    write_clip,
)
from espnet_plugin.pretrained.convert.fairseq_hubert import PRETRAINING_HEADS, write_hubert
from espnet_plugin.pretrained.convert.reference_config import map_config
from espnet_plugin.pretrained.convert.reference_keys import (
    CLIP,
    FULL_TABLE,
    SPEECH_ENCODER,
    MappedWeights,
    map_weights,
)
from espnet_plugin.pretrained.convert.report import ConversionReport
from espnet_plugin.pretrained.convert.vocabulary_ids import FORBIDDEN_ROWS, recover_ids
from espnet_plugin.pretrained.storage_format import (
    CLIP_DIRECTORY,
    SPEECH_ENCODER_DIRECTORY,
    TRAINED_FILE,
    new_directory,
    resolve_paths,
    write_config,
    write_trained,
)
from espnet_plugin.speechclip.clip import FrozenCLIP
from espnet_plugin.speechclip.compatibility import ReferenceCompatibility
from espnet_plugin.speechclip.factory import build_speechclip
from espnet_plugin.speechclip.weights import check_fit
from espnet_plugin.utils.architectures import architecture_name

NUM_TOKENS = 49408  # of CLIP's tokenizer
CLIP_COPY = "cascaded_branch.clip."
TEMPERATURE = "cascaded_branch.vector_quantizer.curr_temp"


def convert_checkpoint(
    source: str | Path,
    directory: str | Path,
    *,
    compatibility: Iterable[str] = (),
    force: bool = False,
) -> ConversionReport:
    """Converts a released checkpoint of SpeechCLIP or SpeechCLIP+.

    Nothing in the file is executed. The directory appears when it is complete; an error leaves
    nothing behind.

    Args:
        source: Lightning checkpoint.
        directory: Where the result goes.
        compatibility: Names of the switches of ``ReferenceCompatibility`` to store as on.
        force: Replace a directory that is not empty.

    Raises:
        FileExistsError: If the directory is not empty.
        FileNotFoundError: If a file is missing.
        ValueError: If the checkpoint is damaged, incomplete, of another model, or holds something
            unknown.
    """
    switches = asdict(ReferenceCompatibility.from_config(dict.fromkeys(compatibility, True)))
    with new_directory(directory, force=force) as target:
        checkpoint = read_released_checkpoint(source)
        try:
            conversion = _Conversion(checkpoint, str(source))
            conversion.config["model_conf"]["compatibility"] = switches
            conversion.config["converted_from"] = Path(source).name  # for the licence
            conversion.convert_clip(target)
            conversion.convert_speech_encoder(target)
            conversion.convert_trained(target)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from error
        write_config(target, conversion.config)
        conversion.report.check_complete(checkpoint.weights)
    return conversion.report


class _Conversion:
    """One conversion: each step writes its part and accounts for its weights."""

    def __init__(self, checkpoint: ReleasedCheckpoint, source: str) -> None:
        try:
            self.config: dict[str, Any] = map_config(checkpoint.config, checkpoint.weights)
        except (LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"the checkpoint's configuration lacks or misuses {error}") from error
        mapped = map_weights(checkpoint.weights)
        if mapped.unknown:
            named = ", ".join(sorted(mapped.unknown)[:5])
            raise ValueError(
                f"{len(mapped.unknown)} weight(s) that no SpeechCLIP has, or has once only: {named}"
            )
        self.mapped: MappedWeights = mapped
        self.report = ConversionReport(source, architecture_name(self.config))
        self.table: Tensor | None = None  # of the keyword vocabulary
        self._account_for_copies(checkpoint.weights)
        self._note_origin(checkpoint)

    def convert_clip(self, target: Path) -> None:
        """Writes CLIP with its whole token table, and finds the keyword vocabulary's tokens in it.

        The rows of the reduced table in the checkpoint are those of the vocabulary.
        """
        weights, table = self.mapped.clip, self.mapped.full_table
        if table is None:
            table = weights[TABLE]
            if len(table) != NUM_TOKENS:
                raise ValueError("the checkpoint has a reduced token table only, not the whole one")
        write_clip(target / CLIP_DIRECTORY, weights, table)
        where = f"{CLIP_DIRECTORY}/{WEIGHTS_FILE}"
        self.config["clip_conf"] = {"model": f"{CLIP_DIRECTORY}/{MODEL_FILE}", "pretrained": where}
        for key in weights:
            if key == "logit_scale":
                self.report.add("dropped", CLIP + key, "CLIP's own temperature, not used")
            elif key == TABLE and self.mapped.full_table is not None:
                self.report.add("dropped", CLIP + key, "rows of the whole token table")
            else:
                self.report.add("stored as teacher", CLIP + key, where)
        if self.mapped.full_table is not None:
            self.report.add("stored as teacher", FULL_TABLE, f"{where} {TABLE}")
        if self.config["keyword_extractor"] == "none":
            return
        rows = weights[TABLE]
        ids = list(range(len(table))) if len(rows) == len(table) else recover_ids(rows, table)
        forbidden = [ids[row] for row in FORBIDDEN_ROWS if row < len(ids)]
        self.config["keyword_vocabulary"] = {"ids": ids, "forbidden": forbidden}
        self.table = table[ids]
        self.report.notes.append(
            f"keyword vocabulary: {len(ids)} tokens, recovered from the token table; never chosen: "
            f"{forbidden}"
        )

    def convert_speech_encoder(self, target: Path) -> None:
        """Writes HuBERT in the transformers library's form."""
        write_hubert(target / SPEECH_ENCODER_DIRECTORY, self.mapped.speech_encoder)
        self.config["speech_encoder_conf"]["model"] = SPEECH_ENCODER_DIRECTORY
        for key in self.mapped.speech_encoder:
            if key.startswith(PRETRAINING_HEADS):
                self.report.add("dropped", SPEECH_ENCODER + key, "head of HuBERT's pre-training")
            else:
                where = f"{SPEECH_ENCODER_DIRECTORY}/{TRAINED_FILE}"
                self.report.add("stored as teacher", SPEECH_ENCODER + key, where)

    def convert_trained(self, target: Path) -> None:
        """Writes the trained part, compared with the model that the configuration describes."""
        trained = dict(self.mapped.trained)
        self._convert_temperature(trained)
        expected = _expected_weights(target, self.config, self.table)
        check_fit(trained, expected, "the weights of the trained part do not fit")
        damaged = [
            key
            for key, value in trained.items()
            if value.is_floating_point() and not value.isfinite().all()
        ]
        if damaged:
            raise ValueError(f"not every number is finite in {', '.join(sorted(damaged)[:3])}")
        write_trained(
            target,
            {
                key: value.float() if value.is_floating_point() else value
                for key, value in trained.items()
            },
            token_table=self.table,
            log_scale=self.mapped.log_scale,
        )
        for name, where in self.mapped.renamed.items():
            self.report.add("mapped", name, where)
        if self.mapped.log_scale is not None:
            self.report.add("mapped", "criterion.temperature", "loss.log_scale")

    def _convert_temperature(self, trained: dict[str, Tensor]) -> None:
        value = self.mapped.quantizer_temperature
        if value is None:
            return
        conf = self.config["quantizer_conf"]
        if isinstance(conf["temperature"], str):
            trained["quantizer.temperature"] = value.reshape(())
            self.report.add("mapped", TEMPERATURE, "quantizer.temperature")
            return
        stored = round(float(value), 6)
        if abs(stored - conf["temperature"]) > 1e-6:
            self.report.notes.append(
                f"quantizer temperature {stored} of the weights taken, the configuration says "
                f"{conf['temperature']}"
            )
            conf["temperature"] = stored
        self.report.add("dropped", TEMPERATURE, "fixed; quantizer_conf.temperature in config.yaml")

    def _account_for_copies(self, weights: Mapping[str, Tensor]) -> None:
        for key, reason in self.mapped.dropped.items():
            if key.startswith(CLIP_COPY):
                first = weights.get(key.removeprefix("cascaded_branch."))
                if first is None or not _same(first, weights[key]):
                    raise ValueError(
                        f"{key} is not a copy of {key.removeprefix('cascaded_branch.')}"
                    )
            self.report.add("dropped", key, reason)

    def _note_origin(self, checkpoint: ReleasedCheckpoint) -> None:
        notes = self.report.notes
        notes += [f"{key} {value}" for key, value in checkpoint.progress.items()]
        if checkpoint.stubs:
            notes.append(f"objects that were not read: {', '.join(checkpoint.stubs)}")
        if checkpoint.ignored:
            notes.append(f"entries that are not part of the model: {', '.join(checkpoint.ignored)}")


def _same(first: Tensor, second: Tensor) -> bool:
    if first.data_ptr() == second.data_ptr() and first.shape == second.shape:
        return True
    return torch.equal(first, second)


def _expected_weights(
    directory: Path, config: Mapping[str, Any], table: Tensor | None
) -> dict[str, Tensor]:
    """Names and shapes of the trained part that a configuration describes, as meta tensors.

    Args:
        directory: Start of the configuration's relative paths.
        config: Configuration of the converted model.
        table: Embeddings of its keyword vocabulary.
    """
    config = resolve_paths(dict(config), directory)
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)  # "random weights"
    try:
        with torch.device("meta"):
            encoder_conf = {**config["speech_encoder_conf"], "random_weights": True}
            model = build_speechclip(
                {**config, "speech_encoder_conf": encoder_conf},
                clip=FrozenCLIP(
                    model=config["clip_conf"]["model"], image_tower=False, text_tower=False
                ),
                token_table=None if table is None else table.to("meta"),
            )
    finally:
        logging.disable(level)
    return {
        key: value
        for key, value in model.state_dict().items()
        if not key.startswith(model.frozen_prefixes)
    }
