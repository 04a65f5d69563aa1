"""An exported model in sentence-transformers gives what SpeechCLIP gives."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

pytest.importorskip(
    "sentence_transformers", minversion="5.4", reason="pip install '.[sentence-transformers]'"
)
import sentence_transformers
from sentence_transformers import SentenceTransformer, util
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

from espnet_plugin import SpeechCLIP
from espnet_plugin.inference.sentence_transformers import SpeechCLIPModule
from espnet_plugin.pretrained.trust import UntrustedModelError
from espnet_plugin.utils.errors import DataError
from tests.tiny import CLIP_DIM

RNG = np.random.RandomState(0)
TEXTS = ["a red dog", "two cats", "a boat at night"]


@pytest.fixture(scope="module")
def own(exported: Path) -> SpeechCLIP:
    return SpeechCLIP.from_pretrained(exported, device="cpu")


@pytest.fixture(scope="module")
def saved(own: SpeechCLIP, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sentence") / "my_model"
    own.save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def model(saved: Path) -> SentenceTransformer:
    return load(saved)


def load(directory: Path, **options: Any) -> SentenceTransformer:
    return SentenceTransformer(str(directory), trust_remote_code=True, device="cpu", **options)


@pytest.fixture(scope="module")
def wavs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    files = [tmp_path_factory.mktemp("wavs") / f"{number}.wav" for number in range(3)]
    for file, length in zip(files, (9000, 4000, 30000), strict=True):
        rate = 44100 if length == 30000 else 16000
        soundfile.write(file, 0.1 * RNG.randn(length), rate, subtype="FLOAT")
    return list(map(str, files))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    files = [tmp_path_factory.mktemp("pictures") / f"{number}.png" for number in range(2)]
    for file in files:
        Image.fromarray(RNG.randint(0, 256, (40, 48, 3)).astype(np.uint8)).save(file)
    return list(map(str, files))


def difference(rows: np.ndarray, expected: np.ndarray) -> float:
    assert rows.shape == expected.shape and rows.dtype == np.float32
    return np.abs(rows - expected).max()


def test_what_the_library_knows_of_a_model(model: SentenceTransformer, saved: Path) -> None:
    assert model.get_embedding_dimension() == CLIP_DIM
    assert model.similarity_fn_name == "cosine"
    assert all(model.supports(kind) for kind in ("audio", "image", "text"))
    assert not model.supports("video")
    assert json.loads((saved / "modules.json").read_text())[0]["type"].endswith("SpeechCLIPModule")
    # from 6.0 on, no class of another package is imported without consent
    if int(sentence_transformers.__version__.partition(".")[0]) >= 6:
        with pytest.raises(ValueError, match="trust_remote_code=True"):
            SentenceTransformer(str(saved))


def test_a_card_shows_it_where_it_works(saved: Path, own: SpeechCLIP, tmp_path: Path) -> None:
    from espnet_plugin.pretrained.publishing import write_model_card

    card = (saved / "README.md").read_text()
    assert "\n- sentence-transformers\n---\n" in card
    assert 'SentenceTransformer("my_model", trust_remote_code=True)' in card
    write_model_card(tmp_path, own.source, name="packed")  # no exported model is beside it
    assert "entence" not in (tmp_path / "README.md").read_text().partition("## Limits")[0]


def test_each_kind_as_speechclip_embeds_it(
    model: SentenceTransformer, own: SpeechCLIP, wavs: list[str], pictures: list[str]
) -> None:
    assert difference(model.encode(TEXTS), own.encode_text(TEXTS)) < 1e-5
    assert difference(model.encode(TEXTS[0]), own.encode_text(TEXTS[0])[0]) < 1e-5
    assert difference(model.encode(wavs, batch_size=2), own.encode_speech(wavs)) < 1e-5
    for branch in ("cascaded", "both"):
        expected = own.encode_speech(wavs, branch=branch)
        assert difference(model.encode(wavs, branch=branch), expected) < 1e-5
    samples, rate = soundfile.read(wavs[0], dtype="float32")
    quiet = {"array": np.pad(samples, 3 * rate), "sampling_rate": rate}
    cut, whole = (own.encode_speech(quiet, trim=trim) for trim in (True, False))
    assert difference(model.encode([quiet]), cut) < 1e-5 < difference(cut, whole)
    assert difference(model.encode([quiet], trim=False), whole) < 1e-5
    assert difference(model.encode(pictures), own.encode_image(pictures)) < 1e-5
    opened = [Image.open(picture) for picture in pictures]
    assert difference(model.encode(opened), own.encode_image(pictures)) < 1e-5
    assert (
        difference(model.encode(TEXTS, prompt="see "), own.encode_text([f"see {t}" for t in TEXTS]))
        < 1e-5
    )


def test_recordings_in_every_form(
    model: SentenceTransformer, own: SpeechCLIP, wavs: list[str]
) -> None:
    samples, rate = soundfile.read(wavs[2], dtype="float32")  # 44.1 kHz
    stereo = np.stack([samples, samples])  # (channels, samples)
    forms = [
        wavs[2],
        Path(wavs[2]),
        {"audio": wavs[2]},
        {"array": samples, "sampling_rate": rate},
        {"audio": {"array": stereo, "sampling_rate": rate, "path": None}},
        {"audio": {"array": samples.tolist(), "sampling_rate": rate}},
    ]
    expected = own.encode_speech(wavs[2])
    assert difference(model.encode(forms), np.repeat(expected, len(forms), axis=0)) < 1e-5
    assert difference(own.encode_speech(forms[3:4]), expected) < 1e-5
    plain, _ = soundfile.read(wavs[0], dtype="float32")  # the model's rate
    assert difference(model.encode(plain), own.encode_speech(wavs[0])[0]) < 1e-5


def test_recordings_as_datasets_decodes_them(
    model: SentenceTransformer, own: SpeechCLIP, wavs: list[str]
) -> None:
    datasets = pytest.importorskip("datasets")
    pytest.importorskip("torchcodec")
    table = datasets.Dataset.from_dict({"speech": wavs})
    table = table.cast_column("speech", datasets.Audio())
    expected = own.encode_speech(wavs)
    assert difference(model.encode(list(table["speech"])), expected) < 1e-5
    assert difference(own.encode_speech(table["speech"]), expected) < 1e-5


def test_a_mixed_batch_keeps_its_order(
    model: SentenceTransformer, own: SpeechCLIP, wavs: list[str], pictures: list[str]
) -> None:
    both = {"text": TEXTS[1], "image": pictures[1]}
    rows = model.encode([wavs[1], TEXTS[0], pictures[0], both, wavs[0]], batch_size=3)
    speech, texts = own.encode_speech(wavs[1::-1]), own.encode_text(TEXTS[:2])
    images = own.encode_image(pictures)
    together = (texts[1] + images[1]) / np.linalg.norm(texts[1] + images[1])
    expected = np.stack([speech[0], texts[0], images[0], together, speech[1]])
    assert difference(rows, expected) < 1e-5
    cosines = model.similarity(rows[:1], rows).numpy()
    assert np.abs(cosines - own.similarity(rows[:1], rows)).max() < 1e-5


@pytest.mark.parametrize(
    ("item", "error", "named"),
    [
        ({"role": "user", "content": "a dog"}, ValueError, "is message, not audio, image, text"),
        ({"audio": "absent.wav"}, DataError, "absent.wav: no such file"),
        ({"audio": {"array": [0.1]}}, DataError, "a recording without sampling_rate"),
        ("talks/gone.wav", DataError, "talks/gone.wav: no such file"),
        ("GONE.M4A", DataError, "GONE.M4A: no such file"),
        ("gone.heic", DataError, "gone.heic: no such file"),
        ("https://host/dog.jpg", DataError, "https://host/dog.jpg: no such file"),
        (7, ValueError, "int"),
    ],
)
def test_bad_input_gets_one_error(
    model: SentenceTransformer, item: Any, error: type[Exception], named: str
) -> None:
    with pytest.raises(error, match=named):
        model.encode([item, "a dog"])


def test_names_of_files_as_texts(
    model: SentenceTransformer, own: SpeechCLIP, wavs: list[str], tmp_path: Path
) -> None:
    """A sentence may end like a file; suffixes that the library does not know are files, too."""
    texts = ["play talks/gone.wav", "gone.txt"]
    rows = model.encode([*texts, {"text": "gone.wav"}])
    assert difference(rows, own.encode_text([*texts, "gone.wav"])) < 1e-5
    known = tmp_path / "a talk.aif"
    known.symlink_to(wavs[0])
    assert difference(model.encode(str(known)), own.encode_speech(wavs[0])[0]) < 1e-5


def test_the_librarys_search_and_evaluation(
    model: SentenceTransformer, own: SpeechCLIP, wavs: list[str]
) -> None:
    texts = model.encode(TEXTS, convert_to_tensor=True)
    speech = model.encode(wavs, convert_to_tensor=True)
    cosines = own.similarity(own.encode_speech(wavs), own.encode_text(TEXTS))
    for hits, row in zip(util.semantic_search(speech, texts, top_k=3), cosines, strict=True):
        assert [hit["corpus_id"] for hit in hits] == np.argsort(-row).tolist()
    names = {str(number): text for number, text in enumerate(TEXTS)}
    evaluator = InformationRetrievalEvaluator(
        names, names, {name: {name} for name in names}, accuracy_at_k=[1], write_csv=False
    )
    assert evaluator(model)["cosine_accuracy@1"] == 1.0


def test_saving_again(
    model: SentenceTransformer, saved: Path, wavs: list[str], pictures: list[str], tmp_path: Path
) -> None:
    given = [wavs[0], TEXTS[0], pictures[0]]
    expected = model.encode(given)
    model.save_pretrained(str(tmp_path / "again"))
    assert difference(load(tmp_path / "again").encode(given), expected) < 1e-6
    again = SpeechCLIP.from_pretrained(tmp_path / "again", device="cpu")
    assert difference(again.encode_speech(wavs[0]), expected[:1]) < 1e-5
    assert (tmp_path / "again" / "README.md").read_text() == (saved / "README.md").read_text()
    shutil.copytree(saved, tmp_path / "copy")
    load(tmp_path / "copy").save_pretrained(str(tmp_path / "copy"))  # over itself
    assert difference(load(tmp_path / "copy").encode(given), expected) < 1e-6


def test_options_and_trust(saved: Path, wavs: list[str], tmp_path: Path) -> None:
    short = load(saved, model_kwargs={"max_seconds": 0.125})
    samples, _ = soundfile.read(wavs[0], dtype="float32")
    assert difference(short.encode(wavs[0]), short.encode(samples[:2000])) < 1e-5
    foreign = shutil.copytree(saved, tmp_path / "foreign")
    with (foreign / "config.yaml").open("a") as config:
        config.write("attention: stranger.module:Class\n")
    with pytest.raises(UntrustedModelError, match="'stranger.module:Class', which may run code"):
        SpeechCLIPModule.load(str(foreign), trust_remote_code=False)
    with pytest.raises(ValueError, match="stranger.module:Class cannot be imported"):
        load(foreign)


def test_without_sentence_transformers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "espnet_plugin.inference.sentence_transformers")
    monkeypatch.setitem(sys.modules, "sentence_transformers.base.modality", None)
    with pytest.raises(ImportError, match="extra: sentence-transformers"):
        import espnet_plugin.inference.sentence_transformers  # noqa: F401
