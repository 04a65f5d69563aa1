from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from espnet_plugin.bin import dump_image_embeddings, dump_speech_states
from espnet_plugin.data.scp import read_scp
from espnet_plugin.speechclip.clip import FrozenCLIP
from espnet_plugin.speechclip.speech_encoder import FrozenSpeechEncoder
from espnet_plugin.tasks.speechclip import SpeechCLIPTask
from espnet_plugin.train.espnet_model import ESPnetSpeechCLIPModel
from espnet_plugin.utils import disk


def image_arguments(corpus, output: Path, image_scp: Path) -> list[str]:
    return [
        *("--image_scp", str(image_scp), "--output_dir", str(output), "--batch_size", "4"),
        *("--clip_model", str(corpus.clip_model), "--clip_pretrained", str(corpus.clip_weights)),
    ]


def test_image_embeddings_are_clips_and_bad_pictures_are_skipped(
    tiny_corpus, tmp_path: Path, caplog
) -> None:
    from PIL import Image

    pictures = read_scp(tiny_corpus.data / "image.scp")
    whole = tmp_path / "whole.jpg"
    Image.fromarray(np.full((64, 64, 3), 7, np.uint8)).save(whole)
    truncated = tmp_path / "truncated.jpg"
    truncated.write_bytes(whole.read_bytes()[:-200])
    pictures |= {"truncated": str(truncated), "absent": str(tmp_path / "absent.jpg")}
    scp = tmp_path / "image.scp"
    scp.write_text("".join(f"{key} {pictures[key]}\n" for key in sorted(pictures)))
    output = tmp_path / "clip"
    dump_image_embeddings.main(image_arguments(tiny_corpus, output, scp))
    listed = read_scp(output / "image_embedding.scp")
    assert sorted(listed) == [f"img{i}" for i in range(6)]
    report = read_scp(output / "unreadable_images.txt")
    assert sorted(report) == ["absent", "truncated"]
    assert "truncated.jpg" in report["truncated"]
    assert "2 of 8 images" in caplog.text
    clip = FrozenCLIP(model=str(tiny_corpus.clip_model), pretrained=str(tiny_corpus.clip_weights))
    expected = clip.encode_images(clip.preprocess(Image.open(pictures["img3"]))[None])[0]
    stored = np.load(listed["img3"])
    assert stored.dtype == np.float32
    assert np.allclose(stored, expected.numpy(), atol=1e-6)


def test_images_by_the_clip_of_a_trained_model(tiny_corpus, trained: Path, tmp_path: Path) -> None:
    scp = tiny_corpus.data / "image.scp"
    dump_image_embeddings.main(image_arguments(tiny_corpus, tmp_path / "by_clip", scp))
    arguments = ["--image_scp", str(scp), "--model_tag", str(trained)]
    dump_image_embeddings.main([*arguments, "--output_dir", str(tmp_path / "by_model")])
    first, second = (np.load(tmp_path / d / "img2.npy") for d in ("by_clip", "by_model"))
    assert np.allclose(first, second, atol=1e-6)


def test_interrupted_image_job_goes_on(tiny_corpus, tmp_path: Path, monkeypatch) -> None:
    output = tmp_path / "clip"
    arguments = image_arguments(tiny_corpus, output, tiny_corpus.data / "image.scp")
    dump_image_embeddings.main(arguments)
    kept = (output / "img0.npy").stat().st_mtime_ns
    (output / "img1.npy").unlink()
    dump_image_embeddings.main(arguments)
    assert (output / "img0.npy").stat().st_mtime_ns == kept
    assert (output / "img1.npy").exists()
    # nothing left to do: CLIP is not even built
    monkeypatch.setattr("espnet_plugin.speechclip.clip.FrozenCLIP.__init__", None)
    dump_image_embeddings.main(arguments)


def test_another_clip_or_picture_makes_the_embeddings_anew(tiny_corpus, tmp_path: Path) -> None:
    output, scp = tmp_path / "c", tmp_path / "image.scp"
    pictures = read_scp(tiny_corpus.data / "image.scp")
    arguments = image_arguments(tiny_corpus, output, scp)

    def embeddings(*options: str) -> dict[str, np.ndarray]:
        scp.write_text("".join(f"{key} {file}\n" for key, file in pictures.items()))
        dump_image_embeddings.main([*arguments, *options])
        listed = read_scp(output / "image_embedding.scp")
        return {key: np.load(path) for key, path in listed.items()}

    first = embeddings()
    pictures["img0"], pictures["img1"] = pictures["img1"], pictures["img0"]
    swapped = embeddings()
    assert np.array_equal(swapped["img0"], first["img1"])
    assert np.array_equal(swapped["img1"], first["img0"])
    assert not np.array_equal(embeddings("--clip_pretrained", "random")["img2"], first["img2"])
    assert np.array_equal(embeddings()["img2"], first["img2"])


def state_arguments(corpus, output: Path, *more: str) -> list[str]:
    return [
        *("--wav_scp", f"{corpus.data}/wav.scp", "--output_dir", str(output)),
        *("--speech_encoder_conf", f"model={corpus.speech_encoder}"),
        *("--batch_seconds", "1", *more),
    ]


@pytest.fixture(scope="module")
def stored_states(tiny_corpus, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("states")
    dump_speech_states.main(state_arguments(tiny_corpus, output))
    return output


def test_stored_states_are_the_encoders(tiny_corpus, stored_states: Path) -> None:
    listed = read_scp(stored_states / "speech_states.scp")
    assert sorted(listed) == sorted(tiny_corpus.utt2image)
    encoder = FrozenSpeechEncoder("huggingface", model=str(tiny_corpus.speech_encoder))
    for utterance in ("img0_0", "img3_1"):
        speech, _ = soundfile.read(tiny_corpus.data / f"{utterance}.wav", dtype="float32")
        states = encoder(torch.from_numpy(speech)[None], torch.tensor([len(speech)]))
        stored = np.load(listed[utterance])
        assert stored.dtype == np.float16
        expected = states.hidden_states[0].transpose(0, 1).numpy()  # (frames, layers + 1, dim)
        assert stored.shape == expected.shape
        assert np.allclose(stored, expected, atol=2e-3 * np.abs(expected).max())


def test_model_agrees_with_and_without_stored_states(
    tiny_corpus, model_arguments, stored_states: Path
) -> None:
    args = SpeechCLIPTask.get_parser().parse_args(model_arguments)
    model = SpeechCLIPTask.build_model(args).eval()
    assert isinstance(model, ESPnetSpeechCLIPModel)
    collate = SpeechCLIPTask.build_collate_fn(args, False)
    listed = read_scp(stored_states / "speech_states.scp")
    waves, states = [], []
    for utterance in ("img0_0", "img3_1", "img2_0"):
        speech, _ = soundfile.read(tiny_corpus.data / f"{utterance}.wav", dtype="float32")
        image = {
            "image": np.load(tiny_corpus.data / f"{utterance[:4]}.npy"),
            "image_id": np.array([int(utterance[3])]),
        }
        waves.append((utterance, {"speech": speech, **image}))
        array = np.load(listed[utterance]).astype(np.float32)
        states.append((utterance, {"speech_states": array, **image}))
    (first, (loss, _, _)), (second, (other, _, _)) = (
        model.evaluate(**collate(items)[1]) for items in (waves, states)
    )
    assert torch.allclose(first["parallel"], second["parallel"], atol=5e-3)
    assert loss.item() == pytest.approx(other.item(), rel=2e-2)


def test_states_of_a_second_run_are_kept(tiny_corpus, stored_states: Path) -> None:
    listed = read_scp(stored_states / "speech_states.scp")
    before = os.stat(listed["img0_0"]).st_mtime_ns
    os.unlink(listed["img1_0"])
    dump_speech_states.main(state_arguments(tiny_corpus, stored_states))
    assert os.stat(listed["img0_0"]).st_mtime_ns == before
    assert Path(listed["img1_0"]).exists()


def test_too_little_disk_is_refused_before_anything_is_written(
    tiny_corpus, tmp_path: Path, monkeypatch, caplog
) -> None:
    monkeypatch.setattr(disk, "free_space", lambda directory: 1000)
    caplog.set_level("INFO")
    with pytest.raises(SystemExit, match="has only 1000 bytes free"):
        dump_speech_states.main(state_arguments(tiny_corpus, tmp_path / "s"))
    assert "need" in caplog.text
    assert not list((tmp_path / "s").rglob("*.npy"))
