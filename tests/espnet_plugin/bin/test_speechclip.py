from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from espnet_plugin import __version__
from espnet_plugin.apps.search.encoder import load_encoders
from espnet_plugin.bin.speechclip import get_parser, main
from espnet_plugin.inference.speechclip import SpeechCLIP
from espnet_plugin.model.factory import build_speechclip
from espnet_plugin.pretrained import save_speechclip
from tests.sounds import murmur
from tests.tiny import tiny_hybrid_plus_config


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    from PIL import Image

    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(5):
        pixels = rng.integers(0, 256, (6, 8, 3), np.uint8)
        Image.fromarray(pixels).resize((48, 40)).save(folder / f"{number}.png")
    (folder / "bad.jpg").write_bytes(b"no picture")
    return folder


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    path = tmp_path / "query.wav"
    soundfile.write(path, np.stack([murmur(30000), murmur(30000, seed=1)], axis=1), 44100)
    return path


@pytest.fixture
def run(capsys: pytest.CaptureFixture):
    def call(*arguments: object) -> str:
        capsys.readouterr()
        main([*map(str, arguments)])
        return capsys.readouterr().out

    return call


@pytest.fixture
def index(exported: Path, pictures: Path, tmp_path: Path, run) -> Path:
    path = tmp_path / "index"
    printed = run("index", pictures, "--model", exported, "--index", path)
    assert printed == "5 images in the index: 5 embedded, 1 unreadable\n"
    return path


def ranking(model: SpeechCLIP, query: np.ndarray, pictures: Path) -> list[str]:
    files = [str(pictures / f"{number}.png") for number in range(5)]
    scores = np.asarray(model.encode_image(files)) @ query
    return [files[place] for place in np.argsort(-scores)]


def test_search_by_voice_text_and_picture(
    exported: Path, pictures: Path, wav: Path, index: Path, run
) -> None:
    model = SpeechCLIP.from_pretrained(exported)
    spoken = np.asarray(model.encode_speech(wav))[0]
    written = np.asarray(model.encode_text("a dog"))[0]
    third = np.asarray(model.encode_image(pictures / "3.png"))[0]
    search = ("search", "--index", index)
    for arguments, query in (
        (("--wav", wav), spoken),
        (("--text", "a dog"), written),
        (("--wav", wav, "--text", "a dog", "--text", "a dog"), spoken + 2 * written),
        (("--text", "a dog", "--image", pictures / "3.png"), written + third),
    ):
        hits = json.loads(run(*search, *arguments, "--json", "--top", 4))
        assert [hit["path"] for hit in hits] == ranking(model, query, pictures)[:4]
        assert all(hit["start"] is None and hit["words"] == [] for hit in hits)
    paths = run(*search, "--text", "a dog", "--paths").splitlines()
    assert paths == ranking(model, written, pictures)
    assert run(*search, "--text", "a dog", "--paths", "--only", "recordings") == ""
    printed = run(*search, "--text", "a dog", "--only", "recordings")
    assert printed == f"{index} has no recordings that can be found\n"
    printed = run(*search, "--image", pictures / "3.png").splitlines()
    assert printed[0].split() == ["score", "image"]
    assert printed[1].split() == ["1", "1.000", str(pictures / "3.png")]
    words = " ".join(word.word for word in model.keywords(wav))
    printed = run(*search, "--wav", wav).splitlines()
    assert words and printed[:2] == [f"heard: {words}", ""]


def test_recordings_are_found_beside_pictures(
    exported: Path, pictures: Path, wav: Path, index: Path, tmp_path: Path, run
) -> None:
    talks = tmp_path / "talks"
    talks.mkdir()
    noise = 0.1 * np.random.default_rng(2).standard_normal((2, 8000))
    gap = np.zeros(24000)
    soundfile.write(talks / "talk.wav", np.concatenate([gap, noise[0], gap, noise[1]]), 16000)
    printed = run("index", pictures, talks, "--index", index)
    assert re.fullmatch(
        r"5 images and 1 recording \(\d windows\) in the index: 1 embedded, 5 unchanged, "
        r"1 unreadable as before\n",
        printed,
    )
    search = ("search", "--index", index, "--text", "a dog")
    hits = json.loads(run(*search, "--json"))
    assert [hit["start"] is None for hit in hits[:6]] == [True] * 5 + [False]
    best = hits[5]
    assert best["path"] == str(talks / "talk.wav") and best["words"]
    assert best["start"] <= best["words"][0]["start"] <= best["end"]
    only = json.loads(run(*search, "--only", "recordings", "--json"))
    assert only == hits[5:]
    printed = run(*search, "--only", "recordings")
    assert printed.splitlines()[0].split() == "score start end recording words".split()
    assert f"{best['start']:.1f} s" in printed
    assert run(*search, "--paths").splitlines()[-1] == str(talks / "talk.wav")
    assert len(run(*search, "--paths").splitlines()) == 6
    held = json.loads(run("info", index, "--json"))
    assert (held["images"], held["recordings"], held["windows"]) == (5, 1, len(hits) - 5)


def test_an_index_refuses_another_model(index: Path, pictures: Path, tmp_path: Path) -> None:
    config, other = tiny_hybrid_plus_config(tmp_path), tmp_path / "other"
    save_speechclip(build_speechclip(config), config, other)
    for arguments in (("index", pictures), ("search", "--text", "x")):
        with pytest.raises(SystemExit, match="was made by .*model .* not by .*other"):
            main([*map(str, arguments), "--model", str(other), "--index", str(index)])


def test_a_new_index_of_unreadable_files_alone_is_an_error(
    exported: Path, tmp_path: Path, run
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(b"no picture")
    with pytest.raises(SystemExit, match="nothing can be found in it: 0 images .*: 1 unreadable"):
        run("index", tmp_path / "photos", "--model", exported, "--index", tmp_path / "new")


def test_says_what_models_and_indices_are(exported: Path, index: Path, pictures: Path, run) -> None:
    described = json.loads(run("info", exported, "--json"))
    assert described["architecture"] == "hybrid+"
    held = json.loads(run("info", index, "--json"))
    assert (held["images"], held["fingerprint"]) == (5, described["fingerprint"])
    assert len(held["unreadable"]) == 1
    assert held["unreadable"][0].startswith(f"{pictures / 'bad.jpg'}: not an image that can")
    assert f"folders      {pictures}" in run("info", index)
    assert len(json.loads(run("models", "--json"))) == 15
    [row] = [line for line in run("models").splitlines() if "flickr8k-base-hybrid-plus" in line]
    assert "about 937 MiB" in row


def test_embeddings_and_keywords(exported: Path, pictures: Path, wav: Path, tmp_path, run) -> None:
    model = SpeechCLIP.from_pretrained(exported)
    output = tmp_path / "embeddings.npz"
    picture = pictures / "1.png"
    asked = (
        "embed",
        wav,
        picture,
        pictures / "bad.jpg",
        "--text",
        "a dog",
        "--model",
        exported,
        "--output",
        output,
    )
    items = json.loads(run(*asked, "--json"))
    with np.load(output, allow_pickle=False) as stored:
        assert stored["items"].tolist() == [str(wav), str(picture), "a dog"]
        assert np.allclose(stored["embeddings"], [item["embedding"] for item in items])
        assert np.allclose(stored["embeddings"][0], model.encode_speech(wav)[0])
    heard = json.loads(run("keywords", wav, "--model", exported, "--json"))
    assert heard[0]["path"] == str(wav)
    assert [word["word"] for word in heard[0]["keywords"]] == [
        keyword.word for keyword in model.keywords(wav)
    ]
    assert run("keywords", wav, "--model", exported).startswith("recording")


def test_keywords_of_a_folder_go_on_after_bad_files(
    exported: Path, wav: Path, tmp_path: Path, capsys, caplog
) -> None:
    folder = tmp_path / "talks"
    (folder / "sub").mkdir(parents=True)
    shutil.copy(wav, folder / "sub" / "good.wav")
    (folder / "bad.wav").write_bytes(b"noise")
    asked = ["keywords", "absent.wav", str(folder), str(wav), "--model", str(exported), "--json"]
    with pytest.raises(SystemExit, match="^speechclip: 2 of 4 recordings left out"):
        main(asked)
    heard = json.loads(capsys.readouterr().out)
    assert [one["path"] for one in heard] == [str(folder / "sub" / "good.wav"), str(wav)]
    output = tmp_path / "words"
    with pytest.raises(SystemExit, match="^speechclip: 2 of 4 recordings left out"):
        main([*asked, "--output", str(output)])
    words = 2 * len(heard[0]["keywords"])
    made = {"output": str(output), "recordings": 2, "words": words}
    assert words and json.loads(capsys.readouterr().out) == made
    assert len((output / "words.tsv").read_text().splitlines()) == 1 + words
    assert len([*output.rglob("good.eaf")]) == len([*output.rglob("good.TextGrid")]) == 1
    with pytest.raises(SystemExit, match="words: is there already"):
        main([*asked, "--output", str(output)])
    assert "left out: absent.wav: no such file" in caplog.text
    assert f"left out: {folder / 'bad.wav'}: cannot be read" in caplog.text


@pytest.mark.parametrize("command", ["keywords", "glossary", "index", "embed"])
def test_a_command_warns_once_of_keywords_that_end_early(
    command: str, exported: Path, wav: Path, tmp_path: Path, caplog, monkeypatch
) -> None:
    """Each recording of a folder has more segments than the model keeps."""
    load_encoders.cache_clear()  # a model that has warned is not asked again
    monkeypatch.setattr("espnet_plugin.inference.results.keyword_ends", lambda *_: [1.5])
    samples, rate = soundfile.read(wav)
    (tmp_path / "talks").mkdir()
    for number in (1, 2, 3):
        soundfile.write(tmp_path / "talks" / f"{number}.wav", samples / number, rate)
    output = ["--index" if command == "index" else "--output", str(tmp_path / "made")]
    parts = ["--part", "1/1"] if command == "embed" else []
    main([command, str(tmp_path / "talks"), "--model", str(exported), *output, *parts])
    found = [record.message for record in caplog.records if "keywords end at" in record.message]
    assert len(found) == 1 and "This warning is given once" in found[0]


def test_an_index_is_refused_when_an_option_of_its_model_changed(
    exported: Path, pictures: Path, wav: Path, tmp_path: Path, run
) -> None:
    model, index = tmp_path / "model", tmp_path / "index"
    shutil.copytree(exported, model)
    run("index", pictures, "--model", model, "--index", index)
    switch_normalisation(model)
    search = ("search", "--index", str(index), "--wav", str(wav))
    for command in (search, ("index", "--index", str(index))):
        with pytest.raises(SystemExit, match=r"index was made by .*model .* as it is now"):
            main([*command])
    run("index", "--index", index, "--force")
    assert str(pictures / "0.png") in run(*search)


def switch_normalisation(model: Path) -> None:
    config = yaml.safe_load((model / "config.yaml").read_text())
    config["speech_encoder_conf"]["normalize_waveform"] = True
    (model / "config.yaml").write_text(yaml.safe_dump(config))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("search", "--index", "absent", "--text", "x"), "absent: no index"),
        (("search", "--index", "INDEX"), "say what to look for"),
        (("search", "--index", "INDEX", "--text", " "), "an empty text"),
        (("search", "--index", "INDEX", "--wav", "absent.wav"), "absent.wav: no such file"),
        (("index", "PICTURES", "--index", "new"), "a new index needs --model"),
        (("index", "absent", "--index", "INDEX"), "absent: no such folder"),
        (("index", "WAV", "--index", "INDEX"), r"wav: a file; give folders"),
        (("embed", "--model", "absent"), "give files or --text"),
        (("embed", "absent", "--model", "absent", "--output", "o2"), r"o2: name a file .* \.npz"),
        (("embed", ".", "--model", "absent", "--part", "1/2"), "parts need FILE and --output"),
        (
            ("embed", ".", "--output", "o", "--model", "m", "--part", "1/2", "--no_trim"),
            "no --text",
        ),
        (
            ("embed", ".", "--model", "absent", "--output", "x", "--parts", "2"),
            "give --part I/N, or --parts N with --cluster",
        ),
        (("index", "--index", "new", "--from", "."), ".: no parts; make them with"),
        (
            ("search", "--index", "INDEX", "--text", "x", "--device", "gpu"),
            "device 'gpu': PyTorch cannot use it here; choose from cpu",
        ),
    ],
)
def test_bad_input_is_one_sentence(
    index: Path, pictures: Path, wav: Path, arguments, message: str
) -> None:
    files = {"INDEX": str(index), "PICTURES": str(pictures), "WAV": str(wav)}
    with pytest.raises(SystemExit, match=f"^speechclip: error: .*{message}"):
        main([files.get(argument, argument) for argument in arguments])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("keywords", "absent.wav"), "absent.wav: no such file$"),
        (("keywords", "FOLDER"), "pictures: no recording in it"),
        (("search", "--index", "INDEX", "--wav", "FOLDER"), "pictures: a folder, not a file$"),
        (("index", "absent", "--index", "new"), "absent: no such folder"),
        (("index", "EMPTY", "--index", "new"), r"empty: no image .*passed over: 1 × \.mp4$"),
        (("index", "FOLDER", "--index", "FOLDER"), "pictures holds other files"),
    ],
)
def test_what_is_missing_is_said_before_a_model_is_looked_for(
    index: Path, pictures: Path, arguments, message: str
) -> None:
    files = {"INDEX": index, "FOLDER": pictures, "EMPTY": pictures.with_name("empty")}
    files["EMPTY"].mkdir()
    (files["EMPTY"] / "film.mp4").touch()
    given = [str(files.get(argument, argument)) for argument in arguments]
    with pytest.raises(SystemExit, match=f"^speechclip: error: .*{message}"):
        main([*given, "--model", "no_model"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("embed", "BAD", "--json", "--model", "MODEL"), "bad.jpg: not an image that can"),
        (("keywords", "BAD", "--model", "MODEL"), "bad.jpg: cannot be read"),
        (("search", "--index", "INDEX", "--wav", "BAD"), "bad.jpg: cannot be read"),
        (("search", "--index", "INDEX", "--image", "BAD"), "bad.jpg: not an image that can"),
    ],
)
def test_what_cannot_be_read_is_named(
    index: Path, pictures: Path, exported: Path, arguments, message: str, caplog
) -> None:
    files = {"INDEX": index, "BAD": pictures / "bad.jpg", "MODEL": exported}
    given = [str(files.get(argument, argument)) for argument in arguments]
    with pytest.raises(SystemExit, match=f"^speechclip: error: .*{message}"):
        main(given)
    assert not re.search(message, caplog.text)  # it is said once


def test_more_or_less_of_a_recording_is_embedded(
    exported: Path, tmp_path: Path, run, caplog
) -> None:
    wav, noise = tmp_path / "long.wav", tmp_path / "noise.wav"
    noise.write_bytes(b"noise")
    soundfile.write(wav, murmur(48000), 16000)
    with caplog.at_level("WARNING"):
        with pytest.raises(SystemExit, match="^speechclip: 1 of 2 recordings left out"):
            run("keywords", wav, noise, "--model", exported)
        assert "only the first" not in caplog.text
        run("embed", wav, "--model", exported, "--max_seconds", "2s", "--json")
    assert f"left out: {noise}: cannot be read" in caplog.text
    assert f"{wav}: 3 s long, only the first 2 s are used" in caplog.text
    assert "give more max_seconds (--max_seconds)" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "code", "printed"),
    [
        ((), 0, "usage: speechclip [-h] [--version] COMMAND"),
        (("--version",), 0, f"speechclip {__version__}\n"),
        (("--vresion",), 2, "--vresion: did you mean --version?"),
        (("search", "--indx", "x", "--text", "y"), 2, "--indx: did you mean --index?"),
        (("index", "--index", "x", "--forse"), 2, "--forse: did you mean --force?"),
        (("search", "--index=x", "--txet=y"), 2, "--txet: did you mean --text?"),
        (("serch", "--index", "x"), 2, "serch: did you mean search?"),
        (("keyword", "--model", "models.zip"), 2, "keyword: did you mean keywords?"),
        (("info", "x", "--unlike_any"), 2, "unrecognized arguments: --unlike_any\n"),
    ],
)
def test_help_version_and_options_that_were_meant(
    arguments: tuple[str, ...], code: int, printed: str, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    output = capsys.readouterr()
    assert ended.value.code == code
    assert printed in (output.err if code else output.out)
    assert output.err.count("did you mean") == printed.count("did you mean")


COMMANDS = "models info embed keywords glossary index search demo convert".split()


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_that_parses(name: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main([name, "--help"])
    _, _, examples = capsys.readouterr().out.partition("\nexample:\n")
    assert examples.strip()
    for line in examples.splitlines():
        command, *arguments = shlex.split(line)
        assert command == "speechclip" and arguments[0] == name
        get_parser().parse_args(arguments)


def test_the_query_comes_first_and_special_options_last(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(["search", "--help"])
    shown = capsys.readouterr().out
    places = [shown.index(text) for text in ("\n  --wav", "\n  --index", "\n  --model")]
    places += [shown.index(text) for text in ("\nspecial options:", "\n  --max_seconds")]
    assert places == sorted(places)


def test_an_abbreviated_option_is_not_corrected(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(["search", "--ind", "x", "--to"])
    assert "did you mean" not in capsys.readouterr().err


def test_silence_is_no_query_and_has_no_keywords(
    exported: Path, index: Path, tmp_path: Path, run
) -> None:
    path = tmp_path / "silence.wav"
    soundfile.write(path, np.zeros(16000), 16000)
    with pytest.raises(SystemExit, match=r"silence\.wav: no speech in it"):
        main(["search", "--index", str(index), "--wav", str(path)])
    with pytest.raises(SystemExit, match=r"silence\.wav: no speech in it"):
        main(["embed", str(path), "--model", str(exported), "--json"])
    (row,) = json.loads(run("embed", path, "--model", exported, "--no_trim", "--json"))
    model = SpeechCLIP.from_pretrained(exported)
    assert np.allclose(row["embedding"], model.encode_speech(path, trim=False)[0])
    heard = json.loads(run("keywords", path, "--model", exported, "--json"))
    assert heard == [{"path": str(path), "keywords": []}]


def test_help_of_every_command_is_quick() -> None:
    code = """
import contextlib, io, sys
from espnet_plugin import __version__
from espnet_plugin.bin.speechclip import main
for name in "models info embed keywords glossary index search convert".split():
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        main([name, "--help"])
print([name for name in ("torch", "numpy", "PIL") if name in sys.modules])
"""
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_a_spoken_query_imports_none_of_the_large_libraries(index: Path, wav: Path) -> None:
    code = f"""
import sys
from espnet_plugin.bin.speechclip import main
main(["search", "--index", {str(index)!r}, "--wav", {str(wav)!r}, "--paths"])
names = ("transformers", "open_clip", "torchvision", "torch._dynamo", "scipy")
print([name for name in names if name in sys.modules])
"""
    *found, imported = subprocess.check_output([sys.executable, "-c", code], text=True).split("\n")[
        :-1
    ]
    assert len(found) == 5
    assert imported == "[]"


def test_parts_become_an_index(
    exported: Path, pictures: Path, wav: Path, tmp_path: Path, run
) -> None:
    pytest.importorskip("pyarrow")
    parts, direct, merged = (tmp_path / name for name in ("parts", "direct", "merged"))
    spoken = 0.1 * np.random.default_rng(2).standard_normal(24000)
    spoken[8000:12000] = 0
    soundfile.write(pictures / "a.flac", spoken, 16000)
    for part in ("1/2", "2/2"):
        run("embed", pictures, "--model", exported, "--part", part, "--output", parts)
    assert len(list(parts.iterdir())) == 2
    printed = run("index", "--index", merged, "--from", parts)
    assert printed == "5 images and 1 recording (1 window) in the index: 6 merged, 1 unreadable\n"
    run("index", pictures, "--model", exported, "--index", direct)
    for query in (("--wav", wav), ("--text", "a dog"), ("--image", pictures / "3.png")):
        found, wanted = (
            json.loads(run("search", "--index", index, *query, "--json"))
            for index in (merged, direct)
        )
        scores = [[hit.pop("score") for hit in hits] for hits in (found, wanted)]
        assert found == wanted
        assert np.allclose(*scores, atol=1e-3)
    config, other = tiny_hybrid_plus_config(tmp_path), tmp_path / "other"
    save_speechclip(build_speechclip(config), config, other)
    with pytest.raises(SystemExit, match=r"parts was made by .*model .* not by .*other"):
        main(["index", "--index", str(tmp_path / "x"), "--from", str(parts), "--model", str(other)])
