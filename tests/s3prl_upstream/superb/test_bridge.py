from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
import torch

from s3prl_upstream.superb import audio, bridge
from s3prl_upstream.superb.levenshtein import distance


def test_edit_distance() -> None:
    assert distance("kitten", "sitting") == 3
    assert distance(["a", "b"], []) == 2
    assert distance([], []) == 0


def test_edit_distance_equals_the_package() -> None:
    editdistance = pytest.importorskip("editdistance")
    rng = np.random.default_rng(0)
    for _ in range(50):
        first, second = (rng.integers(0, 4, rng.integers(0, 9)).tolist() for _ in range(2))
        assert distance(first, second) == editdistance.eval(first, second)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "a.wav"
    stereo = np.stack([np.full(8000, 0.5), np.full(8000, 0.25)], axis=1)
    soundfile.write(path, stereo, 8000)
    return path


def test_files_are_read_as_torchaudio_reads_them(recording: Path) -> None:
    samples, rate = audio.load(recording)
    assert (samples.shape, rate, samples.dtype) == ((2, 8000), 8000, torch.float32)
    assert audio.load(recording, 100, 50)[0].shape == (2, 50)
    assert audio.load(recording, channels_first=False)[0].shape == (8000, 2)
    header = audio.info(recording)
    assert (header.sample_rate, header.num_frames, header.num_channels) == (8000, 8000, 2)


def test_effects(recording: Path) -> None:
    effects = [["channels", "1"], ["rate", "16000"], ["gain", "-6.0206"]]
    samples, rate = audio.apply_effects_file(recording, effects)
    assert (samples.shape, rate) == ((1, 16000), 16000)
    assert samples[0, 8000].item() == pytest.approx(0.375 / 2, abs=1e-3)
    with pytest.raises(ValueError, match="effect reverb 50"):
        audio.apply_effects_tensor(samples, rate, [["reverb", "50"]])


def test_long_silences_are_cut_and_short_ones_stay() -> None:
    loud, short, long = torch.ones(1, 3200), torch.zeros(1, 640), torch.zeros(1, 3200)
    samples = torch.cat([long, loud, short, loud, long], dim=1)
    effect = [["silence", "1", "0.1", "0.1%", "-1", "0.1", "0.1%"]]
    kept, _ = audio.apply_effects_tensor(samples, 16000, effect)
    assert torch.equal(kept, torch.cat([loud, short, loud], dim=1))
    assert audio.apply_effects_tensor(long, 16000, effect)[0].shape == (1, 0)


@pytest.fixture
def clean_modules(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Puts sys.modules back afterwards."""
    before = dict(sys.modules)
    yield monkeypatch
    for name in set(sys.modules) - set(before):
        del sys.modules[name]


@pytest.mark.parametrize(
    ("gap", "module"),
    [
        (bridge.sox, "sox"),
        (bridge.catalyst, "catalyst"),
        (bridge.edit_distance, "editdistance"),
        (bridge.tensorboard, "tensorboardX"),
        (bridge.sox_effects, "torchaudio.sox_effects"),
        (bridge.ctc_corpus_modules, "s3prl.downstream.ctc.corpus"),
    ],
)
def test_what_is_there_is_left_alone(
    clean_modules: pytest.MonkeyPatch, gap: object, module: str
) -> None:
    own = ModuleType(module)
    clean_modules.setitem(sys.modules, module, own)
    assert gap() is False
    assert sys.modules[module] is own


def test_what_is_missing_is_added_once(clean_modules: pytest.MonkeyPatch) -> None:
    clean_modules.setattr(bridge, "_has", lambda name: name in sys.modules)
    clean_modules.delitem(sys.modules, "sox", raising=False)
    assert bridge.sox() is True
    assert bridge.sox() is False
    with pytest.raises(RuntimeError, match="sox.Transformer is not installed"):
        sys.modules["sox"].Transformer()


def test_hub_functions_take_what_the_runner_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    calls = []
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda *a, **o: calls.append((a, o)) or "folder"
    )
    bridge.hub_download()
    assert huggingface_hub.snapshot_download(str(tmp_path), None, use_auth_token=True) == str(
        tmp_path
    )
    assert huggingface_hub.snapshot_download("owner/model", "v1", use_auth_token=True) == "folder"
    huggingface_hub.snapshot_download("owner/model", repo_type="dataset")
    assert calls == [
        (("owner/model",), {"revision": "v1"}),
        (("owner/model",), {"repo_type": "dataset"}),
    ]


def test_modules_are_patched_after_their_import(
    tmp_path: Path, clean_modules: pytest.MonkeyPatch
) -> None:
    (tmp_path / "listed_data.py").write_text("CACHE_PATH = 'inside the package'\n")
    clean_modules.syspath_prepend(tmp_path)
    patch = bridge.keep_sid_lists(Path("/experiment"))[1]
    clean_modules.setattr(sys, "meta_path", list(sys.meta_path))
    sys.meta_path.insert(0, bridge._AfterImport("listed_data", patch))
    import listed_data

    assert listed_data.CACHE_PATH == "/experiment/voxceleb1"
