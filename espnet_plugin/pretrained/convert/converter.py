"""A released checkpoint as a directory that this package loads."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from espnet_plugin.pretrained.convert.checkpoint import ReleasedCheckpoint, read_released_checkpoint
from espnet_plugin.pretrained.convert.clip_export import TABLE
from espnet_plugin.pretrained.convert.reference_config import map_config
from espnet_plugin.pretrained.convert.reference_keys import MappedWeights, map_weights
from espnet_plugin.pretrained.convert.report import ConversionReport
from espnet_plugin.pretrained.convert.teachers import Teachers, TeacherWriter
from espnet_plugin.pretrained.convert.vocabulary_ids import (
    FORBIDDEN_ROWS,
    check_ids,
    read_ids,
    recover_ids,
)
from espnet_plugin.pretrained.storage_format import (
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

CLIP_COPY = "cascaded_branch.clip."
TEMPERATURE = "cascaded_branch.vector_quantizer.curr_temp"


def convert_checkpoint(
    source: str | Path,
    directory: str | Path,
    *,
    vocabulary: str | Path | None = None,
    teachers: Teachers | None = None,
    compatibility: Iterable[str] = (),
    force: bool = False,
) -> ConversionReport:
    """Converts a released checkpoint of SpeechCLIP or SpeechCLIP+.

    Nothing of the file is executed. The result takes its place when it is complete; on an error
    nothing is left behind.

    Args:
        source: Lightning checkpoint.
        directory: Where the result goes.
        vocabulary: File with the token ids of the reduced vocabulary; None: recovered from the
            checkpoint.
        teachers: Public models to name instead of storing their weights, if they are equal.
        compatibility: Names of the switches of ``ReferenceCompatibility`` to store as on.
        force: Replace a directory that is not empty.

    Raises:
        FileExistsError: If the directory is not empty.
        FileNotFoundError: If a file is missing.
        ValueError: If the checkpoint is damaged, of something else, incomplete, or holds something
            unknown.
    """
    teachers = teachers or Teachers()
    switches = asdict(ReferenceCompatibility.from_config(dict.fromkeys(compatibility, True)))
    with new_directory(directory, force=force) as target:
        checkpoint = read_released_checkpoint(source)
        try:
            conversion = _Conversion(checkpoint, str(source))
            conversion.config["model_conf"]["compatibility"] = switches
            conversion.config["converted_from"] = Path(source).name  # whose licence it has
            conversion.convert_teachers(target, teachers)
            conversion.convert_vocabulary(vocabulary)
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
        self.has_keywords = self.config.get("keyword_extractor") != "none"
        self.report = ConversionReport(source, architecture_name(self.config))
        self.table: Tensor | None = None  # of the keyword vocabulary
        self._account_for_copies(checkpoint.weights)
        self._note_origin(checkpoint)

    def convert_teachers(self, target: Path, teachers: Teachers) -> None:
        """Stores or names the frozen models."""
        writer = TeacherWriter(self.mapped, self.config, self.report, target)
        self.full_table = writer.write_clip(teachers.clip)
        writer.write_speech_encoder(teachers.speech_encoder)

    def convert_vocabulary(self, source: str | Path | None) -> None:
        """Finds out which tokens the rows of the reduced table are."""
        if not self.has_keywords:
            if source is not None:
                self.report.notes.append(
                    "--vocabulary has no effect: a parallel model has no keywords"
                )
            return
        rows, full = self.mapped.clip[TABLE], self.full_table
        if source is not None:
            ids = read_ids(source)
            check_ids(ids, rows, full, source)
        elif len(rows) == len(full):
            ids = list(range(len(full)))
        else:
            ids = recover_ids(rows, full)
        forbidden = [ids[row] for row in FORBIDDEN_ROWS if row < len(ids)]
        self.config["keyword_vocabulary"] = {"ids": ids, "forbidden": forbidden}
        self.table = full[ids]
        origin = "recovered from the token table" if source is None else f"of {source}, confirmed"
        self.report.notes.append(
            f"keyword vocabulary: {len(ids)} tokens, {origin}; never chosen: {forbidden}"
        )

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
                    raise ValueError(f"{key} is no copy of {key.removeprefix('cascaded_branch.')}")
            self.report.add("dropped", key, reason)

    def _note_origin(self, checkpoint: ReleasedCheckpoint) -> None:
        notes = self.report.notes
        notes += [f"{key} {value}" for key, value in checkpoint.progress.items()]
        if checkpoint.stubs:
            notes.append(f"objects that were not read: {', '.join(checkpoint.stubs)}")
        if checkpoint.ignored:
            notes.append(f"entries that are no part of the model: {', '.join(checkpoint.ignored)}")


def _same(first: Tensor, second: Tensor) -> bool:
    if first.data_ptr() == second.data_ptr() and first.shape == second.shape:
        return True
    return torch.equal(first, second)


def _expected_weights(
    directory: Path, config: Mapping[str, Any], table: Tensor | None
) -> dict[str, Tensor]:
    """The trained part of the model that a configuration describes: names and shapes, without
    memory.

    Args:
        directory: Where the configuration's relative paths begin.
        config: Of the converted model.
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
