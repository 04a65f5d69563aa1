"""The system's stages: from a corpus to a published model."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from espnet3.contract.stages import StageSpec
from espnet3.systems.base.system import BaseSystem
from omegaconf import OmegaConf

from espnet_plugin.data.record import write_record
from espnet_plugin.espnet3.dataset import listed_data
from espnet_plugin.evaluation.report.write import write_results
from espnet_plugin.pretrained.stored_model import CONFIG_FILE
from espnet_plugin.tasks.records import has_weights, require_same_training, training_record
from espnet_plugin.tasks.speechclip import SpeechCLIPTask
from espnet_plugin.utils.atomic import write_text

SCRIPT = "speechclip.sh"


class SpeechCLIPSystem(BaseSystem):
    """SpeechCLIP and SpeechCLIP+ under ESPnet3.

    The recipe's own stages prepare data and pack models. ESPnet3 trains and infers, with our task
    and runner.

    Example:
        >>> from espnet3.systems.launch import launch
        >>> launch(SpeechCLIPSystem, conf_package="espnet_plugin.espnet3")
    """

    stages = (
        StageSpec(name="create_dataset", config="training", log_dir="data_dir"),
        StageSpec(name="embed_images", config="training", log_dir="data_dir"),
        StageSpec(name="make_vocabulary", config="training", log_dir="data_dir"),
        StageSpec(name="collect_stats", config="training", log_dir="stats_dir"),
        StageSpec(name="train", config="training", log_dir="exp_dir"),
        StageSpec(name="infer", config="inference", log_dir="inference_dir"),
        StageSpec(name="measure", config="metrics", log_dir="inference_dir"),
        StageSpec(name="pack_model", config=("training", "publication")),
        StageSpec(name="upload_model", config=("training", "publication")),
    )

    def create_dataset(self, *args: Any, **kwargs: Any) -> None:
        """Makes data directories, then formats and checks them."""
        self._reject_stage_args("create_dataset", args, kwargs)
        self._run_recipe(1, 3)

    def embed_images(self, *args: Any, **kwargs: Any) -> None:
        """Embeds every image once with CLIP."""
        self._reject_stage_args("embed_images", args, kwargs)
        self._run_recipe(4, 4)

    def make_vocabulary(self, *args: Any, **kwargs: Any) -> None:
        """Lists the sub-words that can be keywords."""
        self._reject_stage_args("make_vocabulary", args, kwargs)
        self._run_recipe(5, 5)

    def collect_stats(self, *args: Any, **kwargs: Any) -> None:
        """Writes the shape files and, on request, the speech encoder's hidden states."""
        self._reject_stage_args("collect_stats", args, kwargs)
        model = OmegaConf.to_container(self.training_config.model, resolve=True)
        # the states must come from the configuration's speech encoder, whatever the recipe's
        # options are; the shell splits them at spaces
        words = [self.training_config.preparation.get("speechclip_args") or ""]
        if model.get("speech_encoder"):
            words.append(f"--speech_encoder {model['speech_encoder']}")
        for name, value in (model.get("speech_encoder_conf") or {}).items():
            text = json.dumps(value, separators=(",", ":")).replace(" ", "\\u0020")
            words.append(f"--speech_encoder_conf {name}={text}")
        self._run_recipe(6, 6, speechclip_args=" ".join(words).strip() or None)

    def train(self, *args: Any, **kwargs: Any) -> None:
        """Trains, or resumes with the options of before.

        Raises:
            ValueError: If there are weights of other options, data or frozen models.
        """
        experiment = Path(self.training_config.exp_dir)
        if int(os.environ.get("LOCAL_RANK", 0)):
            super().train(*args, **kwargs)
            return
        record = training_record(self._training_options())
        if not has_weights(experiment):
            experiment.mkdir(parents=True, exist_ok=True)
            write_record(experiment, record)
            super().train(*args, **kwargs)
            return
        require_same_training(experiment, record, parser=SpeechCLIPTask.get_parser())
        with configuration_kept(experiment):
            super().train(*args, **kwargs)
        write_record(experiment, record)

    def _training_options(self) -> dict[str, Any]:
        """All that decides a training, with ESPnet2's names where it has them."""
        config: Any = OmegaConf.to_container(self.training_config, resolve=True)
        options = {**config["model"], "seed": config["seed"], "trainer": config.get("trainer", {})}
        for part in ("train", "valid"):
            sets = [entry.get("data_src_args", {}) for entry in config["dataset"][part]]
            options[f"{part}_data_path_and_name_and_type"] = [
                data
                for one in sets
                for data in listed_data(
                    Path(one["directory"]), stored_states=bool(one.get("stored_states"))
                )
            ]
        return options

    def measure(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Writes scores.json, RESULTS.md and report.html of the test set."""
        self._reject_stage_args("measure", args, kwargs)
        config = self.metrics_config
        return write_results(
            config.inference_dir,
            test_set=config.test_set,
            dev_set=config.valid_set,
            experiment=config.exp_dir,
            data_dir=Path(config.dump_dir, "raw", config.test_set),
            train_dir=Path(config.dump_dir, "raw", config.train_set),
        )

    def pack_model(self, *args: Any, **kwargs: Any) -> None:
        """Writes the model's folder, which loads with pip packages only."""
        self._reject_stage_args("pack_model", args, kwargs)
        self._run_recipe(10, 10, **self._packed())

    def upload_model(self, *args: Any, **kwargs: Any) -> None:
        """Uploads the model to the Hugging Face hub."""
        self._reject_stage_args("upload_model", args, kwargs)
        repository = self.publication_config.upload_model.hf_repo
        self._run_recipe(11, 11, **self._packed(), hf_repo=repository, skip_upload_hf=False)

    def _packed(self) -> dict[str, Any]:
        """Options that name the experiment and its inference results."""
        if not self.publication_config.inference_dir:
            raise ValueError(
                "pack_model and upload_model need --inference_config, which names the folder of "
                "the results"
            )
        inference = Path(self.publication_config.inference_dir)
        if inference.is_dir() and not inference.name.startswith("inference_"):
            raise ValueError(
                f"{inference}: packing finds results in inference_<name> only; rename the folder "
                "and its inference configuration"
            )
        return {
            "speechclip_exp": self.training_config.exp_dir,
            "inference_tag": inference.name.removeprefix("inference_"),
        }

    def _run_recipe(self, first: int, last: int, **more: Any) -> None:
        if int(os.environ.get("LOCAL_RANK", 0)):
            return  # Lightning starts the other ranks with all stages of the call
        options = OmegaConf.to_container(self.training_config.preparation, resolve=True)
        run_recipe_stages(self.training_config.recipe_dir, first, last, options={**options, **more})


@contextlib.contextmanager
def configuration_kept(directory: Path) -> Iterator[None]:
    """Writes a folder's configuration again if the block raises."""
    path = directory / CONFIG_FILE
    before = path.read_text(encoding="utf-8")
    try:
        yield
    except BaseException:
        write_text(path, before)
        raise


def run_recipe_stages(
    recipe_dir: str | Path, first: int, last: int, *, options: Mapping[str, Any]
) -> None:
    """Runs some stages of the recipe; files that are up to date are kept.

    Args:
        recipe_dir: Folder with ``speechclip.sh``; relative paths start there.
        first: Number of the first stage.
        last: Number of the last one.
        options: Options of ``speechclip.sh`` without dashes. None omits one; a list's items are
            joined by spaces.

    Raises:
        FileNotFoundError: If there is no recipe.
        RuntimeError: If a stage fails; its own message precedes this one.
    """
    script = Path(recipe_dir) / SCRIPT
    if not script.is_file():
        raise FileNotFoundError(
            f"{script}: no such file; set recipe_dir of the training configuration to a folder "
            "like egs3/speechclip_plus"
        )
    command = [f"./{SCRIPT}", "--stage", str(first), "--stop_stage", str(last)]
    for name, value in {"python": sys.executable, **options}.items():
        if value is not None:
            command += [f"--{name}", _as_argument(value)]
    code = subprocess.run(command, cwd=recipe_dir, check=False).returncode
    if code:
        raise RuntimeError(f"stages {first} to {last} of {script} failed (exit code {code})")


def _as_argument(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (str, int, float)):
        return str(value)
    return " ".join(map(str, value))
