from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from espnet_plugin.data.inference_set import (
    read_frame_seconds,
    read_inference_set,
)
from espnet_plugin.data.keyword_file import Keyword, UtteranceKeywords
from espnet_plugin.data.record import Record, make_record
from espnet_plugin.data.set_outputs import SetOutputs, merge_outputs
from espnet_plugin.utils.errors import DataError


def made_from(path: str, digest: str) -> Record:
    return make_record("inference", {}, inputs={"speech": (path, digest)})


def test_jobs_note_which_recordings_utterances_share(tmp_path: Path) -> None:
    for utterance, recordings in (("a", {"a": "x y"}), ("b", {"b": "y"}), ("c", {})):
        part = output(utterance)
        part.recordings = recordings
        part.write(tmp_path / utterance)
    parts = [tmp_path / name for name in "abc"]
    merge_outputs(parts, tmp_path / "all")
    whole = read_inference_set(tmp_path / "all")
    assert whole.recordings_of("bcd") == [{"y"}, {"c"}, {"d"}]
    assert read_inference_set(parts[2]).recordings_of("c") is None
    (parts[1] / "utt2recordings").unlink()  # a job of before
    with pytest.raises(DataError, match="b/utt2recordings is missing"):
        merge_outputs(parts, tmp_path / "all")


def output(utterance: str) -> SetOutputs:
    heard = Keyword(2, "red</w>", (2,), score=0.5)
    return SetOutputs(
        arrays={utterance: {"parallel": np.ones(2, np.float32)}},
        keywords={utterance: UtteranceKeywords(utterance, None, None, (heard,))},
        frame_seconds=0.02,
        made_from=made_from("t", "x"),
    )


def test_jobs_without_captions_and_pictures_are_put_together(tmp_path: Path) -> None:
    for utterance in ("b", "a"):
        output(utterance).write(tmp_path / utterance)
    assert merge_outputs([tmp_path / "b", tmp_path / "a"], tmp_path / "all") == 2
    whole = read_inference_set(tmp_path / "all")
    assert whole.utterances == ("a", "b") and whole.images == () and whole.captioned_keywords == []
    assert [found.keywords[0].score for found in whole.keywords] == [0.5, 0.5]
    assert read_frame_seconds(tmp_path / "all") == 0.02
    with pytest.raises(DataError, match="utterance a is in another job's output too"):
        merge_outputs([tmp_path / "a", tmp_path / "a"], tmp_path / "all")
    other = output("c")
    other.made_from = made_from("t", "y")
    other.write(tmp_path / "c")
    with pytest.raises(DataError, match="of another model or other data than"):
        merge_outputs([tmp_path / "a", tmp_path / "c"], tmp_path / "all")
    (tmp_path / "wav.scp").write_text("a a.wav\nb b.wav\nd d.wav\ne e.wav\n")
    for part in (first := output("a")), (second := output("b")):
        part.made_from = made_from(str(tmp_path / "wav.scp"), "x")
    first.write(tmp_path / "a")
    second.write(tmp_path / "b")
    with pytest.raises(DataError, match="in no job's output: 2, the first is d"):
        merge_outputs([tmp_path / "a", tmp_path / "b"], tmp_path / "all")
    (tmp_path / "a" / "utterances.txt").unlink()
    with pytest.raises(DataError, match="that job did not finish"):
        merge_outputs([tmp_path / "a"], tmp_path / "all")
