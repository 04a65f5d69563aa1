from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from espnet_plugin.bin import embed_transcripts, score_set
from espnet_plugin.data.inference_set import read_inference_set
from espnet_plugin.data.scp import read_scp
from espnet_plugin.evaluation.report.material import read_material


def test_right_transcripts_score_like_the_teacher(inferred: Path, tiny_corpus, trained) -> None:
    text = tiny_corpus.data / "text"
    embed_transcripts.main(
        [
            *("--transcripts", str(text), "--text", str(text), "--inference_dir", str(inferred)),
            *("--model_tag", str(trained)),
        ]
    )
    assert np.allclose(np.load(inferred / "transcripts.npy"), np.load(inferred / "text.npy"))
    score_set.main(["--inference_dir", str(inferred)])
    scores = json.loads((inferred / "scoring" / "retrieval.json").read_text())
    assert scores["asr"]["speech_to_image"] == scores["teacher"]["text_to_image"]
    assert scores["asr"]["image_to_speech"] == scores["teacher"]["image_to_text"]
    assert scores["asr"]["word_error_rate"] == 0.0


def test_missing_transcripts_count_as_empty(inferred: Path, tiny_corpus, tmp_path, caplog) -> None:
    lines = (tiny_corpus.data / "text").read_text().splitlines()
    silent, absent = (line.split()[0] for line in lines[:2])
    (tmp_path / "text").write_text("\n".join([f"{silent} ", "", *lines[2:]]) + "\n")
    arguments = [
        *("--transcripts", str(tmp_path / "text"), "--inference_dir", str(inferred)),
        *("--clip_model", str(tiny_corpus.clip_model)),
        *("--clip_pretrained", str(tiny_corpus.clip_weights)),
    ]
    embed_transcripts.main(arguments)
    assert "taken as empty: 1 of 12" in caplog.text
    found = np.load(inferred / "transcripts.npy")
    assert np.array_equal(found[0], found[1])  # both are the empty text
    assert json.loads((inferred / "transcripts.json").read_text())["word_error_rate"] is None
    heard = read_scp(inferred / "transcripts")
    assert heard[silent] == heard[absent] == "" and len(heard) == 12
    score_set.main(["--inference_dir", str(inferred)])
    material = read_material(read_inference_set(inferred), tiny_corpus.data)
    assert material.transcripts == heard
    (tmp_path / "text").write_text("other a dog\n")
    with pytest.raises(SystemExit, match="is it of this set"):
        embed_transcripts.main(arguments)
