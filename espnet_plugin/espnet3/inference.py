"""Inference over a set with ESPnet3's workers; a shard is like a job of the recipe's stage 8."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from espnet3.parallel.parallel import get_parallel_config
from espnet3.systems.base.inference_runner import InferenceRunner

from espnet_plugin.data.datadir import RECORDINGS
from espnet_plugin.data.record import Record, is_made_from, make_record
from espnet_plugin.data.scp import read_scp
from espnet_plugin.data.set_outputs import SetOutputs, merge_outputs
from espnet_plugin.espnet3.dataset import Dataset
from espnet_plugin.inference.infer_set import infer_set
from espnet_plugin.inference.speechclip import SpeechCLIP
from espnet_plugin.pretrained.fingerprint import model_files


class SetInferenceRunner(InferenceRunner):
    """Writes the files that ``espnet_plugin.evaluation`` reads.

    A finished shard of the same model and data is kept.

    Args:
        provider: ESPnet3's provider of the model and the set.
        options: More options of ``infer_set``, e.g. ``{"batch_size": 16}``.
        **others: Options of ESPnet3's runner.
    """

    def __init__(self, provider: Any, *, options: dict[str, Any] | None = None, **others: Any):
        super().__init__(provider, **others)
        provider.params["infer_options"] = dict(options or {})
        provider.params["made_by"] = _model_files(provider.config)

    def __call__(self, indices: Iterable[int]) -> bool:
        """Runs the whole set; each shard processes its utterances at once, sorted by length."""
        indices = list(indices)
        workers = getattr(get_parallel_config(), "n_workers", 1)
        self.batch_size = -(-len(indices) // max(int(workers), 1))
        dataset = self.provider.build_dataset(self.provider.config).dataset
        self._forget_others(_record(dataset, **self.provider.params))
        return super().__call__(indices)

    def _forget_others(self, record: Record) -> None:
        """Removes finished shards of another model or other data."""
        done = [path for path in self.output_dir.glob("split.*") if self.is_shard_done(path)]
        stale = [path for path in done if not is_made_from(path, record)]
        for path in stale:
            shutil.rmtree(path)
        if stale:
            self._get_manifest_path(self.output_dir, self.shard_subdir).unlink(missing_ok=True)

    @staticmethod
    def forward(idx: Sequence[int], dataset: Any, model: SpeechCLIP, **env: Any) -> SetOutputs:
        """Embeds the utterances at these positions of the set."""
        items: Dataset = dataset.dataset
        directory, keys = items.directory, items.keys()
        utt2image = read_scp(directory / "utt2image")
        features = read_scp(directory / "image_feat.scp")
        outputs = infer_set(
            model,
            items.data[:1],
            keys=[keys[i] for i in idx],
            captions=read_scp(directory / "text") if (directory / "text").exists() else None,
            utt2image=utt2image,
            image_scp={image: features[key] for key, image in utt2image.items()},
            shape_file=str(directory / "utt2num_samples"),
            **env["infer_options"],
        )
        outputs.made_from = _record(items, **env)
        return outputs

    @staticmethod
    def open_writers(shard_dir: Path | None, **env: Any) -> dict[str, Any]:
        """Opens nothing, because a shard is written at once."""
        return {}

    @staticmethod
    def write_record(
        writers: dict[str, Any], result: SetOutputs, state: dict[str, Any], **env: Any
    ) -> None:
        """Writes a shard."""
        result.write(state["shard_dir"])

    @staticmethod
    def close_writers(writers: dict[str, Any], state: dict[str, Any], **env: Any) -> None:
        """Closes nothing."""

    def merge(self, shard_dirs: list[Path]) -> None:
        """Merges the shards."""
        merge_outputs(shard_dirs, self.output_dir)


def _model_files(config: Any) -> dict[str, str]:
    """The files of the inference configuration's model."""
    train_config = str(config["model"]["speechclip_train_config"])
    checkpoint = config["model"].get("speechclip_model_file")
    return model_files(checkpoint or Path(train_config).parent, train_config)


def _record(
    items: Dataset, *, infer_options: dict[str, Any], made_by: dict[str, str], **_: Any
) -> Record:
    """The record of a set's outputs."""
    lists = {"text": "text", "utt2image": "utt2image", "image_scp": "image_feat.scp"}
    lists[RECORDINGS] = RECORDINGS
    paths = {name: items.directory / file for name, file in lists.items()}
    found = {name: path for name, path in paths.items() if path.exists()}
    inputs = {"speech": items.data[0][0], **found, **made_by}
    return make_record("inference", infer_options, inputs=inputs)
