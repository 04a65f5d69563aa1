from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from espnet_plugin.bin import speechclip_pack
from espnet_plugin.inference.speechclip_inference import SpeechCLIPInference
from espnet_plugin.speechclip import load_speechclip


def test_experiment_and_packed_model_load_as_plain_pytorch(trained: Path, tmp_path: Path) -> None:
    """The library's loader gives what ESPnet's inference gives."""
    speech = np.random.RandomState(1).randn(6000).astype(np.float32) * 0.1
    model_file = trained / "latest.pth"
    expected = SpeechCLIPInference(trained / "config.yaml", model_file)(speech)
    packed = tmp_path / "packed.zip"
    speechclip_pack.main(
        [
            *("--train_config", str(trained / "config.yaml")),
            *("--model_file", str(model_file), "--outpath", str(packed)),
        ]
    )
    for source in (model_file, packed):
        model = load_speechclip(source, image_tower=False)
        output = model.encode_speech(torch.from_numpy(speech)[None])
        assert np.allclose(output.parallel[0].numpy(), expected.parallel, atol=1e-6)
        assert np.allclose(output.cascaded[0].numpy(), expected.cascaded, atol=1e-6)
    assert load_speechclip(trained, text_tower=False, image_tower=False).clip.text_tower is None
