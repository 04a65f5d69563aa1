"""Callbacks that make Lightning train a contrastive model as ESPnet2's trainer does."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from espnet2.torch_utils.set_all_random_seed import set_all_random_seed
from espnet2.utils.yaml_no_alias_safe_dump import yaml_no_alias_safe_dump
from espnet3.components.callbacks.default_callbacks import AverageCheckpointsCallback
from lightning.pytorch.callbacks import Callback
from omegaconf import OmegaConf
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from espnet_plugin.train.checkpoints import set_link
from espnet_plugin.train.epoch_seeds import epoch_seed
from espnet_plugin.train.espnet_model import branch_embeddings
from espnet_plugin.train.image_bank import fill_image_bank
from espnet_plugin.train.retrieval_trainer import validation_recall
from espnet_plugin.train.skipped_updates import SkippedUpdates
from espnet_plugin.utils.atomic import write_text
from espnet_plugin.utils.small_files import read_yaml

Trainer, Module = lightning.Trainer, lightning.LightningModule


class WholeSetRecall(Callback):
    """Logs ``valid/recall_mean_at_1`` and the other recalls, see ``RetrievalTrainer``.

    It keeps the embeddings of the validation steps, of all ranks.
    """

    def __init__(self) -> None:
        self._batches: list[dict[str, Tensor]] = []

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: Module) -> None:
        """Starts to keep speech embeddings."""
        self._batches = []
        self._hook = pl_module.model.speechclip.register_forward_hook(self._keep)

    def _keep(self, _: torch.nn.Module, __: Any, output: Any) -> None:
        self._speech = branch_embeddings(output)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: Module, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Keeps the embeddings of a batch, which holds utterance ids and the model's inputs."""
        content = batch[1]
        images = pl_module.model.encode_images(content["image"])
        ids = content["image_id"].reshape(-1)
        self._batches.append({"image": images, "image_id": ids, **self._speech})

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Module) -> None:
        """Scores retrieval over the whole set."""
        self._hook.remove()
        if self._batches and not trainer.sanity_checking:
            for name, value in validation_recall(self._batches).items():
                pl_module.log(f"valid/{name}", value)


class RepeatableUpdates(Callback):
    """Makes draws depend on seed and epoch only, and updates equal ESPnet2's to the last bit.

    An update whose loss or gradients are not finite is skipped: it is not counted, and no schedule
    advances. An epoch's last batches are skipped if they are too few for an update.

    Args:
        seed: Seed of the run.
        grad_clip: Largest norm of the gradients. Lightning's own clipping sums over the optimizer's
            groups in another order, and the rounding grows into another training.
    """

    def __init__(self, *, seed: int, grad_clip: float) -> None:
        self.seed = seed
        self.grad_clip = grad_clip
        self._start_epoch()

    def _start_epoch(self) -> None:
        self._skipped = SkippedUpdates()
        self._start_update()

    def _start_update(self) -> None:
        self._batches: list[Sequence[str]] = []  # their utterances
        self._finite_losses = 0
        self._makes_update = False

    def setup(self, trainer: Trainer, pl_module: Module, stage: str) -> None:
        """Fills the image bank, and excludes the frozen tables from synchronisation over ranks."""
        model = pl_module.model
        bank = getattr(model, "image_bank", None)
        if bank is not None and stage == "fit":
            items = pl_module.train_dataset.datasets[0]  # the batch sampler refuses several
            fill_image_bank(bank, items.data, items.keys())
            model.prepare_naming()
        constant = getattr(model, "_ddp_params_and_buffers_to_ignore", ())
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(
            pl_module, [f"model.{name}" for name in constant]
        )

    def on_train_start(self, trainer: Trainer, pl_module: Module) -> None:
        """Advances the schedules after each update that was made. Lightning would do so after
        skipped ones, too."""
        for config in trainer.lr_scheduler_configs:
            config.interval = "update"  # Lightning acts on "step" and "epoch" only

        def end_update(*_: Any) -> None:
            if self._makes_update:
                pl_module.model.end_update()
                for config in trainer.lr_scheduler_configs:
                    config.scheduler.step()

        for optimizer in trainer.optimizers:
            optimizer.register_step_post_hook(end_update)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Module) -> None:
        """Seeds the epoch; ESPnet2 counts epochs from 1."""
        set_all_random_seed(epoch_seed(self.seed, trainer.current_epoch + 1))
        self._start_epoch()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: Module, batch: Any, *_: Any
    ) -> None:
        """Notes the update's utterances."""
        self._batches.append(batch[0])

    def on_before_backward(self, trainer: Trainer, pl_module: Module, loss: Tensor) -> None:
        """Counts batches with a finite loss; ESPnet3 skips the others."""
        self._finite_losses += 1

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: Module, optimizer: torch.optim.Optimizer
    ) -> None:
        """Clips the gradients, and removes those of a skipped update."""
        norm = torch.nn.utils.clip_grad_norm_(pl_module.model.parameters(), self.grad_clip)
        whole = self._finite_losses == trainer.accumulate_grad_batches
        self._makes_update = whole and bool(norm.isfinite())
        if not self._makes_update:
            optimizer.zero_grad(set_to_none=True)  # Adam skips parameters without gradient

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Module, outputs: Any, *_: Any
    ) -> None:
        """Counts made and skipped updates."""
        if len(self._batches) == trainer.accumulate_grad_batches:
            if self._makes_update:
                self._skipped.made()
            else:
                self._skipped.left_out([key for batch in self._batches for key in batch])
            self._start_update()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Module) -> None:
        """Stops the training if the epoch made no update."""
        self._skipped.end_epoch()


class ESPnet2Experiment(Callback):
    """Writes the experiment's folder in ESPnet2's layout.

    ``config.yaml`` holds the options at its root and the keyword vocabulary as ids.
    ``valid.<criterion>.ave.pth`` is the average of the best epochs. ``train.log`` has a line of
    results for each epoch.

    Args:
        exp_dir: Folder of the experiment.
    """

    def __init__(self, *, exp_dir: str | Path) -> None:
        self.exp_dir = Path(exp_dir)
        self._losses: list[float] = []

    def on_fit_start(self, trainer: Trainer, pl_module: Module) -> None:
        """Replaces ESPnet3's configuration by one in ESPnet2's form, also if no epoch is left."""
        if not trainer.is_global_zero:
            return
        path = self.exp_dir / "config.yaml"
        own = OmegaConf.to_container(pl_module.config, resolve=True)
        written = read_yaml(path)
        config = {name: value for name, value in written.items() if name not in own}
        config |= own["model"] | {"seed": own["seed"]}
        branch = pl_module.model.speechclip.keyword_branch
        if branch is not None:
            # a model must load without the vocabulary file
            config["keyword_vocabulary"] = list(branch.vocabulary.ids)
        write_text(path, yaml_no_alias_safe_dump(config, indent=4, sort_keys=False))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Module, outputs: Any, *_: Any
    ) -> None:
        """Notes the loss of a batch, unless it is not finite."""
        if outputs:  # Lightning divided it by the batches per update
            self._losses.append(float(outputs["loss"]) * trainer.accumulate_grad_batches)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Module) -> None:
        """Averages again, links the average, and logs the epoch's results."""
        if not trainer.is_global_zero:
            return
        for callback in trainer.callbacks:
            if isinstance(callback, AverageCheckpointsCallback):
                # Lightning saves checkpoints after all other callbacks, so at the end of the
                # validation the average still lacks the validated epoch
                callback.on_validation_end(trainer, pl_module)
                for best in callback.best_ckpt_callbacks:
                    criterion, epochs = best.monitor.replace("/", "."), len(best.best_k_models)
                    link = self.exp_dir / f"{criterion}.ave.pth"
                    set_link(link, f"{criterion}.ave_{epochs}best.pth")
        results = {
            name.removeprefix("valid/"): float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith("valid/")
        }
        values = ", ".join(f"{name}={value:.4f}" for name, value in sorted(results.items()))
        loss = sum(self._losses) / max(len(self._losses), 1)
        self._losses = []
        epoch = trainer.current_epoch + 1
        logging.info(f"{epoch}epoch results: [train] loss={loss:.4f}, [valid] {values}")
