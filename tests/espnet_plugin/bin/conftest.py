from __future__ import annotations

from pathlib import Path

import pytest

from espnet_plugin.bin import speechclip_inference
from espnet_plugin.tasks.speechclip import SpeechCLIPTask


@pytest.fixture(scope="session")
def trained(tiny_corpus, model_arguments, tmp_path_factory) -> Path:
    """An experiment of one epoch."""
    output = tmp_path_factory.mktemp("exp") / "tiny"
    SpeechCLIPTask.main(
        cmd=[
            *model_arguments,
            *tiny_corpus.data_arguments("train"),
            *tiny_corpus.data_arguments("valid"),
            *("--output_dir", str(output), "--max_epoch", "1", "--batch_size", "4"),
            *("--num_workers", "0", "--use_tensorboard", "false", "--use_matplotlib", "false"),
        ]
    )
    return output


@pytest.fixture(scope="module")
def inferred(tiny_corpus, trained: Path, tmp_path_factory) -> Path:
    """A set's inference directory."""
    output = tmp_path_factory.mktemp("inference") / "test"
    data = tiny_corpus.data
    speechclip_inference.main(
        [
            *("--output_dir", str(output), "--num_workers", "0"),
            *("--data_path_and_name_and_type", f"{data}/wav.scp,speech,sound"),
            *("--text", f"{data}/text", "--utt2image", f"{data}/utt2image"),
            *("--image_scp", f"{data}/image_embedding.scp"),
            *("--speechclip_model_file", f"{trained}/latest.pth"),
        ]
    )
    return output
