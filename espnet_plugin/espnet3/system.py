"""The system's stages: from a corpus to a published model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from espnet3.contract.stages import StageSpec
from espnet3.systems.base.system import BaseSystem
from omegaconf import OmegaConf

from espnet_plugin.espnet3.recipe_stages import run_recipe_stages
from espnet_plugin.evaluation.report.results import write_results


class SpeechCLIPSystem(BaseSystem):
    """SpeechCLIP and SpeechCLIP+ under ESPnet3.

    The recipe's own stages prepare data and pack models. ESPnet3 trains, infers and scores, with
    our task, runner and metrics.

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

    def embed_images(self, *args: Any, **kwargs: Any) -> None:
        """Embeds every image once with CLIP."""
        self._reject_stage_args("embed_images", args, kwargs)
        self._run_recipe(4)

    def make_vocabulary(self, *args: Any, **kwargs: Any) -> None:
        """Lists the sub-words that can be keywords."""
        self._reject_stage_args("make_vocabulary", args, kwargs)
        self._run_recipe(5)

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
        self._run_recipe(6, speechclip_args=" ".join(words).strip() or None)

    def measure(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Runs the metrics and writes scores.json, RESULTS.md and report.html of the test set."""
        results = super().measure(*args, **kwargs)
        config = self.metrics_config
        write_results(
            config.inference_dir,
            test_set=config.test_set,
            dev_set=config.valid_set,
            experiment=config.exp_dir,
            data_dir=Path(config.dump_dir, "raw", config.test_set),
        )
        return results

    def pack_model(self, *args: Any, **kwargs: Any) -> None:
        """Packs the model into one file, which loads with pip packages only."""
        self._reject_stage_args("pack_model", args, kwargs)
        self._run_recipe(10, **self._packed())

    def upload_model(self, *args: Any, **kwargs: Any) -> None:
        """Uploads the packed model to the Hugging Face hub."""
        self._reject_stage_args("upload_model", args, kwargs)
        repository = self.publication_config.upload_model.hf_repo
        self._run_recipe(11, **self._packed(), hf_repo=repository, skip_upload_hf=False)

    def _packed(self) -> dict[str, Any]:
        """Options that name the experiment and its inference results."""
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

    def _run_recipe(self, stage: int, **more: Any) -> None:
        options = OmegaConf.to_container(self.training_config.preparation, resolve=True)
        run_recipe_stages(
            self.training_config.recipe_dir, stage, stage, options={**options, **more}
        )
