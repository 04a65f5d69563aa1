from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
import torch

from s3prl_upstream.import_hook import after_import
from s3prl_upstream.superb import audio, bridge


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "a.wav"
    stereo = np.stack([np.full(8000, 0.5), np.full(8000, 0.25)], axis=1)
    soundfile.write(path, stereo, 8000)
    return path


def test_files_are_read_as_torchaudio_reads_them(recording: Path) -> None:
    samples, rate = audio.load(recording)
    assert (samples.shape, rate, samples.dtype) == ((2, 8000), 8000, torch.float32)


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


def test_errors_are_counted_without_editdistance(clean_modules: pytest.MonkeyPatch) -> None:
    clean_modules.setattr(bridge, "_has", lambda name: False)
    clean_modules.delitem(sys.modules, "editdistance", raising=False)
    assert bridge.edit_distance() is True
    import editdistance

    assert editdistance.eval("kitten", "sitting") == 3
    assert editdistance.distance(["a", "b"], []) == 2


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
    clean_modules.setattr(sys, "meta_path", list(sys.meta_path))
    after_import("listed_data", partial(bridge.keep_sid_lists, Path("/experiment")))
    import listed_data

    assert listed_data.CACHE_PATH == "/experiment/voxceleb1"
