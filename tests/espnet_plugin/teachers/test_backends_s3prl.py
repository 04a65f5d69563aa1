"""The s3prl backend with s3prl's own checkpoint format and with a plain front end."""

from __future__ import annotations

import json
import sys

import pytest
import torch
import transformers

from espnet_plugin.pretrained.convert.fairseq_hubert import (
    hubert_config_options,
    map_fairseq_hubert,
)
from espnet_plugin.teachers.backends.huggingface import HuggingFaceBackend
from espnet_plugin.teachers.backends.s3prl import S3prlBackend, upstream_hub
from espnet_plugin.teachers.speech_encoder import FrozenSpeechEncoder
from espnet_plugin.teachers.waveforms import prepare_waveforms
from tests.tiny import tiny_hubert_dir


@pytest.fixture(scope="module")
def hub():
    try:
        return upstream_hub()
    except ImportError as error:
        pytest.skip(str(error))


def write_checkpoint(path, *, large, seed=0, **options):
    """A tiny random HuBERT as s3prl's ``hubert_local`` reads it; options: of its model section."""
    from s3prl.upstream.hubert.hubert_model import (
        HubertConfig,
        HubertModel,
        HubertPretrainingConfig,
    )
    from s3prl.upstream.utils import merge_with_parent

    model_cfg = {
        "label_rate": 50.0,
        "extractor_mode": "layer_norm" if large else "default",
        "encoder_layers": 2,
        "encoder_embed_dim": 32,
        "encoder_ffn_embed_dim": 48,
        "encoder_attention_heads": 4,
        "final_dim": 8,
        "layer_norm_first": large,
        "conv_feature_layers": "[(16,10,5)] + [(16,3,2)] * 4 + [(16,2,2)] * 2",
        **options,
    }
    task_cfg = {"data": "", "normalize": large}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = HubertModel(
            merge_with_parent(HubertConfig, model_cfg),
            merge_with_parent(HubertPretrainingConfig, task_cfg),
            [["a", "b"]],
        )
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.data.add_(0.1 * torch.randn_like(parameter))
    weights = model.state_dict()
    content = {"task_cfg": task_cfg, "model_cfg": model_cfg, "model_weight": weights}
    torch.save({**content, "dictionaries_symbols": [["a", "b"]]}, path)
    return weights


@pytest.fixture(scope="module", params=[False, True], ids=["base", "large"])
def local(request, hub, tmp_path_factory):
    """(large, our backend on s3prl's HuBERT, our backend on the same weights in transformers)."""
    directory = tmp_path_factory.mktemp("s3prl")
    weights = write_checkpoint(directory / "hubert.pt", large=request.param)
    options = hubert_config_options(weights) | {"num_attention_heads": 4}
    model = transformers.HubertModel(transformers.HubertConfig(**options))
    report = model.load_state_dict(map_fairseq_hubert(weights), strict=False)
    assert not report.missing_keys and not report.unexpected_keys
    model.save_pretrained(directory / "huggingface")
    ours = S3prlBackend(model="hubert_local", checkpoint=directory / "hubert.pt")
    other = HuggingFaceBackend(model=str(directory / "huggingface"))
    return request.param, ours, other


def run(backend, speech, lengths, *, normalize=False):
    """States and frames of waveforms as the frozen encoder prepares them."""
    waveforms, lengths = prepare_waveforms(
        speech, lengths, normalize=normalize, min_samples=backend.min_samples
    )
    return backend(waveforms, lengths, lengths.tolist()), backend.frame_lengths(lengths)


def test_sizes(local):
    _, backend, _ = local
    assert (backend.num_layers, backend.dim, backend.stride) == (3, 32, 320)
    lengths = backend.frame_lengths(torch.tensor([1, 400, 719, 720, 3000]))
    assert lengths.tolist() == [1, 1, 1, 2, 9]


def test_same_hidden_states_as_transformers(local):
    """All of them, the last one of the large layout included."""
    large, backend, other = local
    speech = 0.3 * torch.randn(3, 4321)
    lengths = torch.tensor([4321, 2000, 300])
    with torch.no_grad():
        hidden, frames = run(backend, speech, lengths)
        expected, expected_frames = run(other, speech, lengths, normalize=large)
    assert frames.tolist() == expected_frames.tolist()
    torch.testing.assert_close(hidden, expected, rtol=1e-4, atol=1e-4)


def test_same_alone_and_in_any_batch(local):
    _, backend, _ = local
    speech = 0.3 * torch.randn(4, 3000)
    lengths = torch.tensor([1700, 3000, 1700, 90])
    with torch.no_grad():
        hidden, frames = run(backend, speech, lengths)
        for row, length in enumerate(lengths.tolist()):
            alone, own = run(backend, speech[row : row + 1, :length], lengths[row : row + 1])
            assert own.item() == frames[row].item()
            torch.testing.assert_close(hidden[row, :, : own.item()], alone[0], rtol=1e-5, atol=1e-5)
            assert hidden[row, :, own.item() :].abs().sum() == 0


@torch.no_grad()
@pytest.mark.parametrize("large", [False, True])
def test_training_mode_is_the_dropouts_alone(hub, tmp_path, large):
    speech, lengths = 0.3 * torch.randn(2, 6000), torch.tensor([6000, 3000])
    names = ("dropout", "attention_dropout", "activation_dropout", "dropout_input")
    backends = []
    for number, dropout in enumerate((0.0, 0.1)):
        path = tmp_path / f"{number}.pt"
        options = {"encoder_layerdrop": 0.9, "mask_prob": 0.9, **dict.fromkeys(names, dropout)}
        write_checkpoint(path, large=large, **options)
        backends.append(S3prlBackend(model="hubert_local", checkpoint=path))
    without, backend = backends
    expected = run(without.eval(), speech, lengths)[0]
    assert torch.equal(run(without.train(), speech, lengths)[0], expected)
    assert torch.equal(run(backend.eval(), speech, lengths)[0], expected)
    first, second = (run(backend.train(), speech, lengths)[0] for _ in range(2))
    for layer in range(backend.num_layers):
        assert not torch.equal(first[:, layer], second[:, layer])
    encoder = backend.upstream.model.encoder
    assert encoder.dropout == encoder.layers[0].dropout1.p == 0.1
    assert torch.equal(run(backend.eval(), speech, lengths)[0], expected)


@torch.no_grad()
def test_upstream_of_transformers_drops_no_layer_and_masks_no_frame(hub, tmp_path):
    path = tiny_hubert_dir(tmp_path)
    config = json.loads((path / "config.json").read_text())
    config |= {"layerdrop": 0.9, "mask_time_prob": 0.9, "mask_time_length": 2}
    names = ("feat_proj_dropout", "hidden_dropout", "attention_dropout", "activation_dropout")
    config |= dict.fromkeys(names, 0.0)
    (path / "config.json").write_text(json.dumps(config))
    backend = S3prlBackend(model="hf_hubert_custom", checkpoint=path).requires_grad_(False)
    speech, lengths = 0.3 * torch.randn(1, 6000), torch.tensor([6000])
    expected = run(backend.eval(), speech, lengths)[0]
    assert torch.equal(run(backend.train(), speech, lengths)[0], expected)


def test_running_statistics_are_left_alone_in_training_mode(hub):
    backend = S3prlBackend(model="fbank")
    backend.norm = torch.nn.BatchNorm1d(3)
    backend.train()
    assert backend.training and backend.upstream.training and not backend.norm.training


def test_fbank(hub):
    encoder = FrozenSpeechEncoder(S3prlBackend(model="fbank"))
    assert encoder.num_layers == 1
    assert encoder.stride == 160
    speech = 0.1 * torch.randn(2, 8000)
    states = encoder(speech, torch.tensor([8000, 4000]))
    assert states.hidden_states.shape == (2, 1, int(states.lengths[0]), encoder.dim)
    expected = hub.fbank()([speech[0]])["hidden_states"][0]
    assert states.lengths[0] == expected.shape[1]
    torch.testing.assert_close(states.hidden_states[:1, 0], expected, rtol=1e-4, atol=1e-4)
    assert encoder(speech, torch.tensor([1, 2])).hidden_states.isfinite().all()
    assert states.lengths.tolist() == encoder.frame_lengths(torch.tensor([8000, 4000])).tolist()


def test_clear_errors(hub, tmp_path):
    with pytest.raises(ValueError, match="no upstream 'hubertt'"):
        S3prlBackend(model="hubertt")
    with pytest.raises(ValueError, match="needs a file.*checkpoint"):
        S3prlBackend(model="hubert_local")
    with pytest.raises(FileNotFoundError, match="absent"):
        S3prlBackend(model="hubert_local", checkpoint=tmp_path / "absent.pt")
    (tmp_path / "some.pt").write_bytes(b"")
    with pytest.raises(ValueError, match="takes no checkpoint"):
        S3prlBackend(model="hubert_base", checkpoint=tmp_path / "some.pt")
    torch.save({"a": torch.zeros(1)}, tmp_path / "foreign.pt")
    with pytest.raises(RuntimeError, match=r"foreign\.pt.*task_cfg"):
        S3prlBackend(model="hubert_local", checkpoint=tmp_path / "foreign.pt")


def test_offline_says_which_file_goes_where(hub, tmp_path, monkeypatch):
    import requests
    from s3prl.util import download

    def refuse(url, *_, **__):
        request = requests.Request("GET", url).prepare()
        raise requests.ConnectionError("no network", request=request)

    monkeypatch.setattr(download, "_download_dir", tmp_path)
    monkeypatch.setattr(download, "_download_url_to_file", refuse)
    monkeypatch.setattr(download, "_download_url_to_file_requests", refuse)
    with pytest.raises(FileNotFoundError) as caught:
        S3prlBackend(model="hubert_base")
    message = str(caught.value)
    assert "hubert_base_ls960.pt cannot be downloaded here" in message
    place = message.split("save it as ")[1]
    assert place.startswith(str(tmp_path))
    assert place.endswith(".hubert_base_ls960.pt")


def test_missing_s3prl_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3prl.hub", None)
    monkeypatch.setitem(sys.modules, "s3prl", None)
    with pytest.raises(ImportError, match=r"pip install espnet-s3prl"):
        S3prlBackend(model="fbank")
