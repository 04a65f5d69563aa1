"""Fit a configuration's updates and warm-up to the number of recordings of a corpus.

Prints options of training. A configuration whose updates do not depend on the corpus
(``num_iters_per_epoch``), or that has no ``warmup_steps_list``, needs none.

    python -m local.custom.schedule --config conf/train.yaml --utt2image dump/raw/SET/utt2image_id
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet_plugin.data.scp import read_scp
from espnet_plugin.train.unique_image_sampler import UniqueImageBatchSampler
from espnet_plugin.utils.command import command_errors
from espnet_plugin.utils.small_files import read_yaml

EPOCHS = 100
LEAST_UPDATES = 500  # what 300 recordings of ten words were tried with


def fitted_options(config: Mapping[str, Any], utt2image: Mapping[str, str]) -> list[str]:
    """Options of training that fit a configuration to a corpus.

    The corpus is read as often as the configuration's corpus, but for at least ``LEAST_UPDATES``
    and a tenth of the configuration's updates, and for at most all of these. What lasts for a
    number of updates keeps its share of them: warm-up, the quantiser's temperature, CIF's scaling.

    Args:
        config: The configuration, with what replaces its values.
        utt2image: Image of each training utterance.
    """
    planned = (config.get("scheduler_conf") or {}).get("warmup_steps_list")
    if not planned or config.get("num_iters_per_epoch"):
        return []
    batches = len(UniqueImageBatchSampler(utt2image, batch_size=config["batch_size"]))
    accumulated = config.get("accum_grad") or 1
    least = max(LEAST_UPDATES, planned[-1] // 10)
    updates = min(max(config["max_epoch"] * batches // accumulated, least), planned[-1])
    of_an_epoch = -(-updates // EPOCHS)
    share = EPOCHS * of_an_epoch / planned[-1]
    steps = [round(share * step) for step in planned]
    options = ["--max_epoch", str(EPOCHS), "--num_iters_per_epoch", str(of_an_epoch * accumulated)]
    options += ["--scheduler_conf", f"warmup_steps_list=[{','.join(map(str, steps))}]"]
    if scaling := (config.get("keyword_extractor_conf") or {}).get("scaling_steps"):
        options += ["--keyword_extractor_conf", f"scaling_steps={round(share * scaling)}"]
    temperature = (config.get("quantizer_conf") or {}).get("temperature")
    if isinstance(temperature, list):
        *ends, lasting = temperature
        values = ",".join(map(str, (*ends, round(share * lasting))))
        options += ["--quantizer_conf", f"temperature=[{values}]"]
    logging.info(
        f"{len(utt2image):,} training recordings: {EPOCHS * of_an_epoch:,} updates in {EPOCHS} "
        f"epochs, warm-up {steps[1]:,} (the configuration: {planned[-1]:,}, warm-up "
        f"{planned[1]:,})"
    )
    return options


@command_errors("schedule")
def main(cmd: list[str] | None = None) -> None:
    """Prints the options, one a line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--utt2image", type=Path, required=True)
    for name in ("batch_size", "accum_grad", "num_iters_per_epoch"):
        parser.add_argument(f"--{name}", type=int)
    args, _ = parser.parse_known_args(cmd)  # other options of training may follow
    given = {name: value for name, value in vars(args).items() if isinstance(value, int)}
    config = read_yaml(args.config) | given
    print("\n".join(fitted_options(config, read_scp(args.utt2image))))


if __name__ == "__main__":
    main()
