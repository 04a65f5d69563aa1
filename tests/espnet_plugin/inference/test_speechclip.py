"""Recordings, images and texts in every form that people have them in."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from espnet_plugin import SpeechCLIP
from espnet_plugin.apps.search.query import embed_query
from espnet_plugin.data.keyword_file import Keyword
from espnet_plugin.data.words import words_of
from espnet_plugin.inference import speechclip
from espnet_plugin.inference.by_name import embed_by_name
from espnet_plugin.inference.speechclip_inference import SpeechCLIPInference
from espnet_plugin.media.speech_activity import EDGE, NoSpeechError, spoken_parts
from espnet_plugin.pretrained import load_speechclip
from espnet_plugin.pretrained.choices import Choices
from espnet_plugin.utils.errors import DataError
from tests.sounds import murmur
from tests.tiny import CLIP_DIM

RNG = np.random.RandomState(0)
SPEECH = [murmur(length, seed=length) for length in (8000, 3200, 12000, 5000)]
PIXELS = RNG.randint(0, 256, (40, 48, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def model(exported: Path) -> SpeechCLIP:
    return SpeechCLIP.from_pretrained(exported, device="cpu")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    directory = tmp_path_factory.mktemp("files")
    for number, samples in enumerate(SPEECH):
        soundfile.write(directory / f"{number}.wav", samples, 16000, subtype="FLOAT")
    Image.fromarray(PIXELS).save(directory / "picture.png")
    return [directory / f"{number}.wav" for number in range(len(SPEECH))]


def test_a_row_for_each_recording_in_the_order_given(
    model: SpeechCLIP, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = np.stack([model(samples).parallel for samples in SPEECH])
    monkeypatch.setattr(speechclip, "BATCH_SECONDS", 1.2)  # 0.75 s alone; 0.5 and 0.31; 0.2
    for given in (files, [str(file) for file in files], SPEECH, tuple(map(torch.tensor, SPEECH))):
        rows = model.encode_speech(given)
        assert rows.shape == (4, CLIP_DIM) and rows.dtype == np.float32
        assert np.abs(rows - expected).max() < 1e-5
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert model.encode_speech(files[1]).shape == (1, CLIP_DIM)
    assert model.encode_speech([]).shape == model.encode_image([]).shape == (0, CLIP_DIM)


def test_arrays_of_any_rate_type_and_number_of_channels(model: SpeechCLIP) -> None:
    integers = (SPEECH[0] * 32767).astype(np.int16)
    stereo = np.stack([integers, integers], axis=1)
    expected = model.encode_speech(integers.astype(np.float32) / 32768, sampling_rate=44100)
    for given in (integers, stereo, integers.astype(np.float64) / 32768):
        assert np.abs(model.encode_speech(given, sampling_rate=44100) - expected).max() < 1e-5
    half = (SPEECH[0]).astype(np.float16)
    assert np.isfinite(model.encode_speech(half, sampling_rate=8000)).all()


def test_silence_and_the_shortest_recordings(model: SpeechCLIP) -> None:
    given = [np.zeros(800), np.zeros(16000), SPEECH[0][:1]]
    rows = model.encode_speech(given, branch="both", trim=False)
    assert np.isfinite(rows).all() and np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


def test_quiet_at_the_ends_is_cut_off_and_none_inside(model: SpeechCLIP, tmp_path: Path) -> None:
    quiet = np.zeros(24000, np.float32)
    clean = np.concatenate([SPEECH[0], quiet, SPEECH[2]])
    long = np.concatenate([quiet, clean, quiet])
    ((first, _), *_, (_, last)) = spoken_parts(long, 16000)
    assert (first, len(long) - last) == pytest.approx((24000 - EDGE * 16000,) * 2, abs=500)
    for branch in ("parallel", "cascaded", "both"):
        whole = model.encode_speech(clean, branch=branch, trim=False)
        assert np.array_equal(model.encode_speech(clean, branch=branch), whole)
        alone = model.encode_speech(long[first:last], branch=branch, trim=False)
        assert np.array_equal(model.encode_speech(long, branch=branch), alone)
    soundfile.write(tmp_path / "long.wav", long, 16000, subtype="FLOAT")
    path = str(tmp_path / "long.wav")
    cut = model.encode_speech(long)
    assert np.array_equal(embed_query(model, [path], [], []).vector, cut[0])
    assert np.array_equal(embed_query(model, [], [], [], spoken=long).vector, cut[0])
    (embedded,), (whole,) = (embed_by_name(model, [path], trim=trim) for trim in (True, False))
    assert np.array_equal(embedded[1], cut[0])
    assert np.array_equal(whole[1], model.encode_speech(long, trim=False)[0])
    assert not np.allclose(whole[1], cut[0])


def test_a_recording_without_speech_is_an_error(model: SpeechCLIP, tmp_path: Path) -> None:
    path = str(tmp_path / "a.wav")
    soundfile.write(path, np.zeros(16000), 16000)
    for ask in (model.encode_speech, lambda file: embed_query(model, [file], [], [])):
        with pytest.raises(NoSpeechError, match=r"^/.*a\.wav: no speech in it, only silence"):
            ask(path)
    skipped: dict[int, str] = {}
    assert len(model.encode_speech([path, SPEECH[0]], skipped=skipped)) == 1
    assert skipped == {0: f"{path}: no speech in it, only silence"}


def test_of_long_speech_the_beginning_is_heard(exported: Path, caplog) -> None:
    model = SpeechCLIP.from_pretrained(exported, device="cpu", max_seconds=0.25)
    rows = model.encode_speech(SPEECH)
    beginnings = model.encode_speech([samples[:4000] for samples in SPEECH])
    assert np.abs(rows - beginnings).max() < 1e-5
    assert caplog.text.count("only the first 0 s are used") == 3
    everything = SpeechCLIP.from_pretrained(exported, device="cpu").keywords(SPEECH[0])
    assert model.keywords(SPEECH[0]) == everything and everything[-1].end > 0.4


def test_branches(model: SpeechCLIP, monkeypatch: pytest.MonkeyPatch) -> None:
    parallel, cascaded, both = (
        model.encode_speech(SPEECH, branch=branch) for branch in ("parallel", "cascaded", "both")
    )
    assert np.array_equal(model.encode_speech(SPEECH), parallel)
    mean = (parallel + cascaded) / np.linalg.norm(parallel + cascaded, axis=1, keepdims=True)
    assert np.allclose(both, mean, atol=1e-6)
    monkeypatch.setattr(model, "fusion_weight", 0.75)
    weighted = 3 * parallel + cascaded
    weighted /= np.linalg.norm(weighted, axis=1, keepdims=True)
    assert np.allclose(model.encode_speech(SPEECH, branch="both"), weighted, atol=1e-6)
    for chosen, rows in {"cascaded": cascaded, "both": weighted}.items():
        monkeypatch.setattr(model, "branch", chosen)
        found = [model.encode_speech(SPEECH)[0], model.row(model(SPEECH[0]))]
        assert np.allclose(found, rows[:1], atol=1e-5)
        assert np.allclose(model.encode_speech(SPEECH, branch="parallel"), parallel, atol=1e-6)
    with pytest.raises(ValueError, match="parallel, cascaded and both"):
        model.encode_speech(SPEECH, branch="fused")


def test_bad_recordings_are_named_or_left_out(
    model: SpeechCLIP, files: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "noise.wav").write_bytes(b"no audio")
    given = [files[0], tmp_path / "noise.wav", np.full(900, np.nan), files[1], tmp_path / "gone"]
    skipped: dict[int, str] = {}
    rows = model.encode_speech(given, skipped=skipped)
    assert sorted(skipped) == [1, 2, 4] and "NaN" in skipped[2]
    assert type(rows) is np.ndarray and rows.dtype == np.float32
    assert model.encode_speech([np.zeros(0)], skipped={}).shape == (0, CLIP_DIM)
    assert np.abs(rows - model.encode_speech(files[:2])).max() < 1e-5
    assert "noise.wav: cannot be read" in caplog.text and "item 2: audio holds NaN" in caplog.text
    with pytest.raises(DataError, match="noise.wav: cannot be read"):
        model.encode_speech(given)
    with pytest.raises(DataError, match="item 0: audio is empty"):
        model.encode_speech([np.zeros(0)])
    with pytest.raises(TypeError, match="item 0: speech is of type float"):
        model.encode_speech([0.1, 0.2])


def test_pictures_in_every_form(model: SpeechCLIP, exported: Path, files: list[Path]) -> None:
    path = files[0].parent / "picture.png"
    tower = model._clip_with_images()
    pixels = tower.preprocess(Image.fromarray(PIXELS))[None]
    expected = tower.encode_images(pixels).numpy()
    for given in (path, str(path), Image.open(path), PIXELS):
        assert np.abs(model.encode_image(given) - expected).max() < 1e-6
    skipped: dict[int, str] = {}
    assert len(model.encode_image([path, files[0], PIXELS], skipped=skipped)) == 2
    assert list(skipped) == [1] and "0.wav: not an image" in skipped[1]
    with pytest.raises(TypeError, match="item 0: an image of type float"):
        model.encode_image([0.1])


def test_the_image_tower_comes_with_the_first_picture(exported: Path) -> None:
    model = SpeechCLIP.from_pretrained(exported, device="cpu")
    model.encode_speech(SPEECH)
    assert model.model.clip.image_tower is None and model._image_clip is None
    assert model.to("cpu").encode_image(PIXELS).shape == (1, CLIP_DIM)


def test_texts_and_similarities(model: SpeechCLIP) -> None:
    texts = model.encode_text(["a red dog", "a dog"])
    assert np.allclose(texts[:1], model.encode_text("a red dog"), atol=1e-6)
    similarity = model.similarity(model.encode_speech(SPEECH), texts)
    assert similarity.shape == (4, 2) and type(similarity) is np.ndarray
    assert np.allclose(np.diag(model.similarity(texts, texts)), 1, atol=1e-5)
    with pytest.raises(TypeError, match="type int"):
        model.encode_text(["a", 1])


def test_keywords_say_what_and_when(model: SpeechCLIP, files: list[Path]) -> None:
    keywords = model.keywords(files[2])
    assert keywords == model.keywords(SPEECH[2]) and keywords
    assert all(-1 <= keyword.score <= 1 for keyword in keywords)
    assert all(0 <= k.start < k.end <= 0.75 for k in keywords)
    assert not any("</w>" in keyword.word for keyword in keywords)


def test_words_below_the_models_min_score_are_left_out(exported: Path, files: list[Path]) -> None:
    model = SpeechCLIP.from_pretrained(exported, device="cpu")
    everything = model.keywords(files[2])
    model.min_score = max(keyword.score for keyword in everything)
    assert model.keywords(files[2]) == [k for k in everything if k.score == model.min_score]


def test_sub_words_are_joined_up_to_a_words_end(model: SpeechCLIP) -> None:
    clip = model.model.clip
    snow, man, dog = clip.tokenize(["snow"])[0][0], clip.tokenize(["man"])[0][0], 1929
    piece = next(i for i, text in clip.tokenizer.decoder.items() if text == "snow")

    def keyword(token_id: int, score: float, start: float | None) -> Keyword:
        end = None if start is None else start + 1
        return Keyword(token_id, clip.token_text(token_id), (), start, end, score=score)

    heard = [keyword(piece, 0.4, 0), keyword(man, 0.8, 1), keyword(dog, 0.5, 2),
             keyword(piece, 0.3, 3)]  # fmt: skip
    words = words_of(heard, clip.text_of)
    assert [(word.word, word.start, word.end) for word in words] == [
        ("snowman", 0, 2), ("dog", 2, 3), ("snow", 3, 4),
    ]  # fmt: skip
    assert words[0].score == pytest.approx(0.6)
    assert [word.word for word in words_of(heard, clip.text_of, min_score=0.45)] == ["man", "dog"]
    assert str(words[0]) == "0.00-2.00 s  snowman  (0.60)"
    without_times = [keyword(piece, 0.4, None), keyword(snow, 0.8, None)]
    assert [str(word) for word in words_of(without_times, clip.text_of)] == [
        "snow  (0.40)",
        "snow  (0.80)",
    ]


@pytest.mark.slow
def test_libraries_are_imported_when_they_are_used_and_espnet_never(exported: Path) -> None:
    code = f"""
import sys
import espnet_plugin.model
assert "torch" not in sys.modules
from espnet_plugin import SpeechCLIP
from espnet_plugin.pretrained import load_speechclip
from espnet_plugin.model.factory import build_speechclip
later = {{"open_clip", "transformers", "torchvision", "PIL", "scipy", "soundfile", "soxr", "sympy"}}
assert not later & sys.modules.keys()
import numpy as np
model = SpeechCLIP.from_pretrained({str(exported)!r}, device="cpu")
speech = 0.1 * np.sin(np.arange(8000))
model.encode_speech(speech), model.keywords(speech), model.encode_text("a dog")
assert not {{"espnet", "espnet2", "nltk", "g2p_en", "s3prl"}} & sys.modules.keys()
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")


def test_a_chosen_branch_that_the_model_lacks_is_refused_at_once(exported: Path) -> None:
    model = load_speechclip(exported)
    model.parallel_projection = None
    with pytest.raises(ValueError, match="the model has no branch parallel, only cascaded"):
        SpeechCLIP(model, source=exported, choices=Choices(branch="both"))


def test_the_class_for_espnet_loads_by_the_same_arguments(exported: Path) -> None:
    own, espnets = (
        inspect.signature(kind.from_pretrained).parameters
        for kind in (SpeechCLIP, SpeechCLIPInference)
    )
    assert own == espnets
    loaded = SpeechCLIPInference.from_pretrained(
        name_or_path=exported, device=torch.device("cpu"), dtype="bfloat16", max_seconds=3.0
    )
    assert (loaded.dtype, loaded.max_seconds) == ("bfloat16", 3.0)
