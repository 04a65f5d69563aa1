from __future__ import annotations

from pathlib import Path

import pytest

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
