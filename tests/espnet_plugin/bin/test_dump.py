from __future__ import annotations

import os
import shutil
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from espnet2.tasks.abs_task import AbsTask

from espnet_plugin.bin import dump_image_embeddings, dump_speech_states
from espnet_plugin.data.dataset import SpeechCLIPDataset
from espnet_plugin.data.frame_store import CHECKSUM_BYTES, StoredFrames
from espnet_plugin.data.sampler_files import read_lengths
from espnet_plugin.data.scp import read_scp
from espnet_plugin.inference.speech_states import stored_size
from espnet_plugin.tasks.speechclip import SpeechCLIPTask
from espnet_plugin.teachers.backends.huggingface import HuggingFaceBackend
from espnet_plugin.teachers.clip import FrozenCLIP
from espnet_plugin.teachers.speech_encoder import FrozenSpeechEncoder
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
    assert "skipped: 2 of 8" in caplog.text
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
    monkeypatch.setattr("espnet_plugin.teachers.clip.FrozenCLIP.__init__", None)
    dump_image_embeddings.main(arguments)


def test_parts_that_are_made_by_hand_do_not_overwrite_each_other(
    tiny_corpus, tmp_path: Path
) -> None:
    arguments = image_arguments(tiny_corpus, tmp_path / "clip", tiny_corpus.data / "image.scp")
    states = state_arguments(tiny_corpus, tmp_path / "states")
    for part in ("1/2", "2/2"):
        dump_image_embeddings.main([*arguments, "--part", part])
        dump_speech_states.main([*states, "--part", part])
    for folder, name, number in (("clip", "image_embedding", 3), ("states", "speech_states", 6)):
        lists = [read_scp(tmp_path / folder / f"{name}.{part}.scp") for part in (1, 2)]
        assert [len(found) for found in lists] == [number] * 2
        assert len(lists[0] | lists[1]) == 2 * number
        assert not (tmp_path / folder / f"{name}.scp").exists()
        manifests = sorted(path.name for path in (tmp_path / folder / "manifest").iterdir())
        assert manifests == ["1.jsonl", "2.jsonl"]  # so jobs at the same time write other files


def test_another_clip_or_picture_makes_the_embeddings_anew(tiny_corpus, tmp_path: Path) -> None:
    output, scp = tmp_path / "c", tmp_path / "image.scp"
    pictures = read_scp(tiny_corpus.data / "image.scp")
    # one at a time, for another place in a batch may round otherwise
    arguments = [*image_arguments(tiny_corpus, output, scp), "--batch_size", "1"]

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


@pytest.fixture(scope="module", params=["int8", "float16"])
def stored_states(tiny_corpus, tmp_path_factory, request) -> Path:
    output = tmp_path_factory.mktemp("states")
    dump_speech_states.main(state_arguments(tiny_corpus, output, "--states_dtype", request.param))
    return output


def batches(corpus, stored_states: Path, args) -> list[dict[str, torch.Tensor]]:
    """Three utterances as training reads them, from recordings and from stored states."""
    collate = SpeechCLIPTask.build_collate_fn(args, False)
    read = []
    for speech in (
        (f"{corpus.data}/wav.scp", "speech", "sound"),
        (f"{stored_states}/speech_states.scp", "speech_states", "frames"),
    ):
        data = [speech, (f"{corpus.data}/image_feat.scp", "image", "npy")]
        data.append((f"{corpus.data}/utt2image_id", "image_id", "text_int"))
        dataset = SpeechCLIPDataset(
            data, preprocess=SpeechCLIPTask.build_preprocess_fn(args, False)
        )
        read.append(collate([dataset[key] for key in ("img0_0", "img3_1", "img2_0")])[1])
    return read


def test_model_agrees_with_and_without_stored_states(
    tiny_corpus, model_arguments, stored_states: Path
) -> None:
    listed = read_scp(stored_states / "speech_states.scp")
    assert sorted(listed) == sorted(tiny_corpus.utt2image)
    args = SpeechCLIPTask.get_parser().parse_args(model_arguments)
    model = SpeechCLIPTask.build_model(args).eval()
    assert isinstance(model, ESPnetSpeechCLIPModel)
    recordings, states = batches(tiny_corpus, stored_states, args)
    expected, actual = (
        model.speechclip.speech_encoder.hidden_states(batch["speech"])
        for batch in (recordings, states)
    )
    assert torch.equal(actual.lengths, expected.lengths)
    error = (actual.hidden_states - expected.hidden_states).norm()
    assert error < 0.01 * expected.hidden_states.norm()
    (first, (loss, _, _)), (second, (other, _, _)) = (
        model.evaluate(**batch) for batch in (recordings, states)
    )
    for branch in ("parallel", "cascaded"):
        assert (torch.cosine_similarity(first[branch], second[branch]) > 1 - 1e-3).all()
    assert loss.item() == pytest.approx(other.item(), rel=2e-2)


def test_states_of_a_second_run_are_kept_and_damaged_ones_made_again(
    tiny_corpus, tmp_path: Path, caplog
) -> None:
    dump_speech_states.main(state_arguments(tiny_corpus, tmp_path))
    (file,) = tmp_path.glob("*.safetensors")
    frames = StoredFrames(tmp_path / "speech_states.scp")
    before = frames.read("img1_0")["frames"]
    content = file.read_bytes()
    place = content.index(before.tobytes())
    stamp = file.stat()
    file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    dump_speech_states.main(state_arguments(tiny_corpus, tmp_path))
    assert "img1_0 is made again" in caplog.text
    again = StoredFrames(tmp_path / "speech_states.scp")
    assert np.abs(again.read("img1_0")["frames"].astype(int) - before).max() <= 127
    listed = read_scp(tmp_path / "speech_states.scp")
    assert {entry.split()[0] for key, entry in listed.items() if key != "img1_0"} == {str(file)}
    assert listed["img1_0"].split()[0] != str(file)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2


def test_too_little_disk_is_refused_before_anything_is_written(
    tiny_corpus, tmp_path: Path, monkeypatch, caplog
) -> None:
    monkeypatch.setattr(disk, "free_space", lambda directory: 1000)
    caplog.set_level("INFO")
    with pytest.raises(SystemExit, match="has only 1000 bytes free"):
        dump_speech_states.main(state_arguments(tiny_corpus, tmp_path / "s"))
    assert "need" in caplog.text
    assert not list((tmp_path / "s").rglob("*.safetensors"))


def test_the_size_that_is_said_is_the_size_that_is_taken(tiny_corpus, stored_states: Path) -> None:
    samples = read_lengths([str(tiny_corpus.data / "utt2num_samples")])
    encoder = FrozenSpeechEncoder(HuggingFaceBackend(model=str(tiny_corpus.speech_encoder)))
    (file,) = stored_states.glob("*.safetensors")
    dtype = str(StoredFrames(stored_states / "speech_states.scp").read("img0_0")["frames"].dtype)
    over = stored_size(samples, encoder, dtype=dtype) - file.stat().st_size
    frame = encoder.num_layers * (encoder.dim * 2 + 2) + CHECKSUM_BYTES
    assert 0 <= over < 512 + 2 * len(samples) * frame


@pytest.fixture
def own(tiny_corpus, tmp_path: Path) -> Path:
    """A recording, an encoder, and its hidden states; a test may change them."""
    encoder = shutil.copytree(tiny_corpus.speech_encoder, tmp_path / "a" / "hubert")
    for file in encoder.iterdir():
        os.utime(file, (1, 1))
    wavs = list(read_scp(tiny_corpus.data / "wav.scp").items())[:2]
    for key, file in wavs:
        shutil.copy(file, tmp_path / f"{key}.wav")
    scp = "".join(f"{key} {tmp_path / key}.wav\n" for key, _ in wavs)
    (tmp_path / "wav.scp").write_text(scp)
    dump_states(tiny_corpus, tmp_path, "--speech_encoder_conf", f"model={encoder}")
    return tmp_path


def dump_states(corpus, root: Path, *options: str) -> None:
    dump_speech_states.main([
        *("--wav_scp", f"{root}/wav.scp", "--output_dir", f"{root}/states"),
        *("--utt2num_samples", f"{corpus.data}/utt2num_samples", *options),
    ])  # fmt: skip


def train_on(root: Path, *, model: str = "a/hubert", **options) -> None:
    data = [
        (f"{root}/image_feat.scp", "image", "npy"),
        (f"{root}/states/speech_states.scp", "speech_states", "frames"),
    ]
    SpeechCLIPTask.main_worker(
        Namespace(
            train_data_path_and_name_and_type=None,
            valid_data_path_and_name_and_type=data,
            speech_encoder="huggingface",
            speech_encoder_conf={"model": f"{root}/{model}", **options},
            output_dir=f"{root}/exp",
            collect_stats=False,
            init_param=None,
        )
    )


@pytest.fixture
def trained_with(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """Options of the trainings that were not refused; none is run."""
    ran: list[dict] = []
    monkeypatch.setattr(
        AbsTask, "main_worker", classmethod(lambda cls, args: ran.append(args.speech_encoder_conf))
    )
    return ran


def test_training_takes_hidden_states_of_its_own_encoder(own: Path, trained_with) -> None:
    train_on(own)
    # what the encoder does anyway, the same encoder elsewhere, and what changes no states
    shutil.copytree(own / "a", own / "b")
    train_on(own, normalize_waveform=False, model="b/hubert")
    train_on(own, cache_dir="x")
    assert len(trained_with) == 3


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("normalisation", "normalize_waveform: False then, True now"),
        ("model", "speech_encoder_conf.model: another value then"),
        ("frames", "frame_length_rule: exact then, rounded now"),
        ("encoder", "speech_encoder_conf.model: .*a/hubert has changed"),
        ("preprocessor", "speech_encoder_conf.model: .*a/hubert has changed"),
        ("recording", "recordings: .*wav.scp has changed"),
        ("list", "recordings: .*wav.scp has changed"),
        ("record", "made_from.json: missing"),
    ],
)
def test_training_refuses_other_hidden_states(
    own: Path, trained_with, change: str, named: str
) -> None:
    options, model = {}, "a/hubert"
    if change == "normalisation":
        options["normalize_waveform"] = True
    elif change == "frames":
        options["frame_length_rule"] = "rounded"
    elif change == "model":
        model = "b/hubert"
        shutil.copytree(own / "a", own / "b")
        (own / "b" / "hubert" / "model.safetensors").write_bytes(b"others")
    elif change == "encoder":  # of the same size and time
        file = own / "a" / "hubert" / "model.safetensors"
        file.write_bytes(file.read_bytes()[:-1] + b"x")
        os.utime(file, (1, 1))
    elif change == "preprocessor":
        (own / "a" / "hubert" / "preprocessor_config.json").write_text('{"do_normalize": true}')
    elif change == "recording":
        os.utime(own / "img0_0.wav", (1, 1))
    elif change == "list":
        (own / "wav.scp").write_text((own / "wav.scp").read_text().replace("img0_1 ", "img0_2 "))
    else:
        (own / "states" / "made_from.json").unlink()
    said = f"^speechclip_train: error: .*states.*{named}.*[Rr]un stage 6 again"
    with pytest.raises(SystemExit, match=said):
        train_on(own, model=model, **options)
    assert trained_with == []


def test_the_training_decides_how_the_hidden_states_are_made(
    tiny_corpus, own: Path, trained_with
) -> None:
    """Its options follow ``--`` in stage 6, a configuration and what overrides it."""
    (own / "conf.yaml").write_text("speech_encoder_conf: {model: nowhere}\n")
    training = ["--config", f"{own}/conf.yaml", "--speech_encoder_conf", f"model={own}/a/hubert"]
    training += ["--speech_encoder_conf", "normalize_waveform=true"]
    dump_states(tiny_corpus, own, "--", *training)
    data = f"{own}/states/speech_states.scp,speech_states,frames"
    training += ["--output_dir", f"{own}/exp", "--train_data_path_and_name_and_type", data]
    SpeechCLIPTask.main(cmd=training)
    assert trained_with == [{"model": f"{own}/a/hubert", "normalize_waveform": True}]
    training += ["--speech_encoder_conf", "normalize_waveform=false"]
    with pytest.raises(SystemExit, match="normalize_waveform: True then, False now"):
        SpeechCLIPTask.main(cmd=training)
    with pytest.raises(SystemExit, match="normalize_waveform: True then, False now"):
        train_on(own)
