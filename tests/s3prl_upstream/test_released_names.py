"""A released model's name goes wherever a model is named; here it is in the cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor

import s3prl_upstream
from espnet_plugin.inference.speechclip_inference import SpeechCLIPInference
from espnet_plugin.pretrained import load_speechclip
from espnet_plugin.pretrained.released import released_model
from espnet_plugin.pretrained.storage import load_clip
from s3prl_upstream.expert import UpstreamExpert
from tests.local_hub import only_hub
from tests.released_checkpoint import CLIP_DIM, DIM, LAYERS, released_checkpoint

NAME = "flickr8k-base-hybrid-plus"
PROJECT = Path(__file__).parents[2]
WAVE = 0.1 * torch.randn(8000, generator=torch.Generator().manual_seed(0))
STATES = LAYERS + 2  # the first layer's input and the attention block's output


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The name has been used once; from now on there is no hub."""
    root = tmp_path_factory.mktemp("released")
    model = released_model(NAME)
    assert model is not None
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("SPEECHCLIP_CACHE", str(root / "converted"))
        with pytest.MonkeyPatch.context() as connected, only_hub(connected, root / "hub") as hub:
            hub.repositories[model.repository] = {model.path: released_checkpoint()}
            load_speechclip(NAME, image_tower=False, text_tower=False)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        yield


def by_library() -> Tensor:
    return load_speechclip(NAME).encode_speech(WAVE[None]).parallel


def by_inference() -> Tensor:
    return torch.from_numpy(SpeechCLIPInference.from_pretrained(NAME)(WAVE.numpy()).parallel)[None]


def by_upstream() -> Tensor:
    return UpstreamExpert(NAME, outputs=["parallel"])([WAVE])["parallel_embedding"]


def by_torch_hub() -> Tensor:
    options = {"source": "local", "ckpt": NAME, "outputs": ["parallel"]}
    upstream = torch.hub.load(str(PROJECT), "speechclip_plus", **options)
    return upstream([WAVE])["parallel_embedding"]


@pytest.mark.parametrize("entry", [by_inference, by_upstream, by_torch_hub])
def test_every_entry_loads_the_same_model(entry: Callable[[], Tensor]) -> None:
    with torch.no_grad():
        torch.testing.assert_close(entry(), by_library(), rtol=1e-4, atol=1e-5)


def test_the_clip_of_a_released_model_embeds_pictures_and_texts() -> None:
    clip = load_clip(NAME, image_tower=True, text_tower=True)
    assert clip.encode_texts(["a dog"]).shape == (1, CLIP_DIM)


def test_s3prl_nn_and_espnets_front_end() -> None:
    pytest.importorskip("s3prl")
    from espnet2.asr.frontend.s3prl import S3prlFrontend
    from s3prl.nn import S3PRLUpstream

    s3prl_upstream.register()
    upstream = S3PRLUpstream("speechclip_plus", path_or_url=NAME).eval()
    assert (upstream.num_layers, set(upstream.hidden_sizes)) == (STATES, {DIM})
    options = yaml.safe_load("{upstream: speechclip_plus, path_or_url: " + NAME + "}")
    front_end = S3prlFrontend(frontend_conf=options, multilayer_feature=True)
    features, _ = front_end(WAVE[None], torch.tensor([len(WAVE)]))
    assert features.shape[-1] == DIM
