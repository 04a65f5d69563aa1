from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import soundfile

from espnet_plugin.bin import speechclip_inference
from espnet_plugin.data.inference_set import read_frame_seconds, read_inference_set
from espnet_plugin.data.keyword_file import read_keywords
from espnet_plugin.data.scp import read_scp, write_scp
from espnet_plugin.inference.speechclip_inference import SpeechCLIPInference

MODEL = "latest.pth"


def arguments(corpus, experiment: Path, output: Path, *more: str) -> list[str]:
    data = corpus.data
    return [
        *("--output_dir", str(output), "--num_workers", "0", "--batch_size", "5"),
        *("--data_path_and_name_and_type", f"{data}/wav.scp,speech,sound"),
        *("--text", f"{data}/text", "--utt2image", f"{data}/utt2image"),
        *("--image_scp", f"{data}/image_embedding.scp"),
        *("--speechclip_train_config", f"{experiment}/config.yaml"),
        *("--speechclip_model_file", f"{experiment}/{MODEL}"),
        *more,
    ]


@pytest.fixture(scope="module")
def whole(tiny_corpus, trained: Path, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("inference") / "whole"
    speechclip_inference.main(arguments(tiny_corpus, trained, output))
    return output


def test_files_of_a_set(whole: Path, tiny_corpus) -> None:
    found = read_inference_set(whole)
    assert found.utterances == tuple(sorted(tiny_corpus.utt2image))
    assert found.images == tuple(f"img{i}" for i in range(6))
    assert list(found.branches) == ["parallel", "cascaded"]
    for array in (found.parallel, found.cascaded, found.text, found.image):
        assert array.dtype == np.float32
        assert np.allclose(np.linalg.norm(array, axis=1), 1, atol=1e-5)


def test_keywords_have_times_captions_and_weights(whole: Path, tiny_corpus) -> None:
    keywords = read_keywords(whole / "keywords.jsonl")
    assert len(keywords) == len(tiny_corpus.utt2image)
    first = keywords[0]
    assert first.caption == "a red" and first.caption_ids == (320, 736)
    assert first.seconds == pytest.approx(0.2)
    assert len(first.alphas) == 9  # frames of 3,200 samples: (3200 - 400) / 320 + 1, rounded down
    assert first.keywords
    for keyword in first.keywords:
        assert keyword.top[0] == keyword.token_id and len(keyword.top) == 5
        assert keyword.top_scores[0] == keyword.score and len(keyword.top_scores) == 5
        assert sorted(keyword.top_scores, reverse=True) == list(keyword.top_scores)
        assert 0 <= keyword.start < keyword.end <= 0.2
    raw = json.loads((whole / "keywords.jsonl").read_text().splitlines()[0])
    assert all(len(str(alpha)) <= 7 for alpha in raw["alphas"])


def test_an_utterance_alone_gives_the_same(whole: Path, tiny_corpus, trained: Path) -> None:
    model = SpeechCLIPInference(trained / "config.yaml", trained / MODEL)
    found = read_inference_set(whole)
    row = 3
    speech, _ = soundfile.read(tiny_corpus.data / f"{found.utterances[row]}.wav", dtype="float32")
    result = model(speech)
    assert np.abs(result.parallel - found.parallel[row]).max() < 1e-5
    assert np.abs(result.cascaded - found.cascaded[row]).max() < 1e-5


def test_jobs_merge_to_the_whole(whole: Path, tiny_corpus, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_corpus.data, tmp_path / "data")
    corpus = replace(tiny_corpus, data=tmp_path / "data")
    made_of = {utterance: f"{utterance}.wav x.wav" for utterance in corpus.utt2image}
    write_scp(corpus.data / "utt2recordings", made_of)
    parts = [str(tmp_path / f"output.{job}") for job in (2, 1)]
    for part in parts:
        options = arguments(corpus, trained, Path(part), "--part", f"{part[-1]}/2")
        speechclip_inference.main(options)
    speechclip_inference.main(["--merge", *parts, "--output_dir", str(tmp_path / "merged")])
    for name in ("utterances.txt", "images.txt", "utt2image"):
        assert (tmp_path / "merged" / name).read_text() == (whole / name).read_text()
    assert read_scp(tmp_path / "merged" / "utt2recordings") == made_of
    assert read_scp(whole / "utt2recordings") == {}
    arrays = ("speech_parallel.npy", "speech_cascaded.npy", "text.npy", "image.npy")
    for name in arrays:
        merged, expected = np.load(tmp_path / "merged" / name), np.load(whole / name)
        assert np.abs(merged - expected).max() < 1e-5
    merged, expected = (read_keywords(p / "keywords.jsonl") for p in (tmp_path / "merged", whole))
    assert [k.utterance for k in merged] == [k.utterance for k in expected]
    assert [k.token for e in merged for k in e.keywords] == [
        k.token for e in expected for k in e.keywords
    ]

    assert read_frame_seconds(tmp_path / "merged") == read_frame_seconds(whole) == 0.02
    weights = np.load(tmp_path / "merged" / "layer_weights.npy")
    assert np.array_equal(weights, np.load(whole / "layer_weights.npy"))
    assert weights.sum() == pytest.approx(1)


def test_unfinished_jobs_are_not_merged(tmp_path: Path) -> None:
    (tmp_path / "output.1").mkdir()
    with pytest.raises(SystemExit, match="did not finish"):
        speechclip_inference.main(
            ["--merge", str(tmp_path / "output.1"), "--output_dir", str(tmp_path / "merged")]
        )


@pytest.mark.parametrize(
    "name, samples, cause", [("nan", [np.nan] * 800, "NaN"), ("empty", [], "0 samples")]
)
@pytest.mark.parametrize("workers", ["0", "1"])
def test_bad_audio_ends_with_one_message(
    tiny_corpus, trained: Path, tmp_path: Path, name: str, samples, cause: str, workers: str
) -> None:
    path = tmp_path / f"{name}.wav"
    soundfile.write(path, np.array(samples), 16000, subtype="FLOAT")
    (tmp_path / "wav.scp").write_text(f"utt {path}\n")
    with pytest.raises(SystemExit) as caught:
        speechclip_inference.main(
            [
                *("--output_dir", str(tmp_path / "out"), "--num_workers", workers),
                *("--data_path_and_name_and_type", f"{tmp_path}/wav.scp,speech,sound"),
                *("--speechclip_model_file", f"{trained}/{MODEL}"),
            ]
        )
    message = str(caught.value)
    assert cause in message and str(path) in message and "utt" in message
    assert "\n" not in message


def test_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="config.yaml"):
        SpeechCLIPInference(None, tmp_path / "absent.pth")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_every_precision_that_is_offered_works(
    whole: Path, tiny_corpus, trained: Path, tmp_path: Path, dtype: str
) -> None:
    speechclip_inference.main(arguments(tiny_corpus, trained, tmp_path / dtype, "--dtype", dtype))
    exact, found = read_inference_set(whole), read_inference_set(tmp_path / dtype)
    assert (exact.parallel * found.parallel).sum(axis=1).min() > 0.99
    assert np.isfinite(found.cascaded).all()


def test_another_precision_is_named(trained: Path) -> None:
    with pytest.raises(ValueError, match="dtype 'int8': choose from float32, "):
        SpeechCLIPInference(trained / "config.yaml", trained / MODEL, dtype="int8")


def test_long_speech_comes_alone_and_is_cut(
    whole: Path, tiny_corpus, trained: Path, tmp_path: Path, caplog
) -> None:
    """One recording of a minute among short ones: not all are padded to a minute."""
    data = tmp_path / "data"
    shutil.copytree(tiny_corpus.data, data)
    speech = np.random.default_rng(0).normal(0, 0.1, 60 * 16000)
    long = data / "img0_0.wav"
    soundfile.write(long, speech, 16000)
    for name, value in (("wav.scp", str(long)), ("utt2num_samples", str(len(speech)))):
        table = read_scp(data / name) | {"img0_0": value}
        (data / name).write_text("".join(f"{k} {v}\n" for k, v in table.items()))
    sizes = []
    encode = SpeechCLIPInference.encode

    def spy(self, batch):
        sizes.append(tuple(batch.waveforms.shape))
        return encode(self, batch)

    output = tmp_path / "out"
    options = ["--shape_file", str(data / "utt2num_samples"), "--max_seconds", "20"]
    options += ["--batch_seconds", "10"]
    with mock.patch.object(SpeechCLIPInference, "encode", spy):
        speechclip_inference.main(
            arguments(replace(tiny_corpus, data=data), trained, output, *options)
        )
    assert sizes[0] == (1, 20 * 16000)
    assert max(rows for rows, _ in sizes[1:]) > 1
    assert "img0_0: 60 s long, only the first 20 s are used" in caplog.text
    found, clean = read_inference_set(output), read_inference_set(whole)
    assert found.utterances == clean.utterances
    assert np.abs(found.parallel[1:] - clean.parallel[1:]).max() < 1e-5
    heard = read_keywords(output / "keywords.jsonl")[0]
    assert heard.seconds == 20 and len(heard.keywords) == 75
    assert "img0_0: more than 75 segments, so its keywords end at" in caplog.text
