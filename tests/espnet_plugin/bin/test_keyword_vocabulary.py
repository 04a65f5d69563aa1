"""The keyword vocabulary from captions, or from another English text."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from espnet_plugin.bin.keyword_vocabulary import main
from espnet_plugin.data.record import require_fresh
from espnet_plugin.model.vocabulary import KeywordVocabulary


def shared(name: str) -> Path | None:
    """A file of the workplace's reference material, where there is one."""
    places = (parent / "shared" / name for parent in Path(__file__).parents)
    return next((path for path in places if path.is_file()), None)


CAPTIONS = shared("flickr8k_text/Flickr8k.token.txt")
CHECKPOINT = shared("fixtures/ckpt/hybrid_plus.ckpt")


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "clip.json"
    config = {"embed_dim": 8, "vision_cfg": {}, "text_cfg": {"context_length": 77}}
    path.write_text(json.dumps(config))
    return str(path)


def test_counts_over_all_files_most_frequent_first(tmp_path: Path, model: str) -> None:
    (tmp_path / "a").write_text("u1 a dog\nu2 A dog, a cat\n")
    (tmp_path / "b").write_text("u3 a cat and a dog\n")
    out = tmp_path / "tokens.tsv"
    main(
        ["--text", str(tmp_path / "a"), str(tmp_path / "b")]
        + ["--output", str(out), "--clip_model", model]
    )
    lines = [line.split("\t") for line in out.read_text().splitlines()]
    assert lines[0] == ["id", "token", "count"]
    assert lines[1] == ["320", "a</w>", "5"]
    assert [line[1:] for line in lines[2:4]] == [["dog</w>", "3"], ["cat</w>", "2"]]
    assert len(KeywordVocabulary.from_file(out).ids) == len(lines) - 1 == 5
    # neither start nor end of text
    assert not {"49406", "49407"} & {line[0] for line in lines}


def test_whole_clip_has_everything_but_the_special_tokens(tmp_path: Path, model: str) -> None:
    out = tmp_path / "tokens.tsv"
    main(["--whole_clip", "--output", str(out), "--clip_model", model])
    ids = KeywordVocabulary.from_file(out).ids
    assert sorted(ids) == list(range(49406))


def test_sentences_and_words_with_counts_give_the_counts_of_captions(
    tmp_path: Path, model: str
) -> None:
    files = {
        "captions": "u1 a dog and a cat\nu2 two dogs\n",
        "sentences": "A dog and a cat\ntwo dogs\n",
        "words": "a\t2\ndog\t1\nand\t1\ncat\t1\ntwo\t1\ndogs\t1\n",
    }
    written = set()
    for name, content in files.items():
        (tmp_path / name).write_text(content)
        option = "--text" if name == "captions" else "--vocab_text"
        out = tmp_path / f"{name}.tsv"
        main([option, str(tmp_path / name), "--output", str(out), "--clip_model", model])
        written.add(out.read_text())
    assert len(written) == 1
    require_fresh([out], remedy="")
    (tmp_path / "words").write_text("dog\t1\n")
    with pytest.raises(ValueError, match="vocab_text"):  # before training, as of other captions
        require_fresh([out], remedy="")


def test_a_general_list_is_written_and_used(
    tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = {"the": 0.05, "dog": 4e-4, "cat": 1e-4}
    package = SimpleNamespace(get_frequency_dict=lambda language, wordlist: shares)
    monkeypatch.setitem(sys.modules, "wordfreq", package)
    words, out = tmp_path / "general.tsv", tmp_path / "tokens.tsv"
    main(["--general_words", str(words), "--output", str(out), "--clip_model", model])
    assert words.read_text() == "dog\t20000\ncat\t10000\nthe\t1\n"
    assert KeywordVocabulary.from_file(out).counts == (20_000, 10_000, 1)


def test_errors_name_the_remedy(tmp_path: Path, model: str) -> None:
    with pytest.raises(SystemExit, match="no captions"):
        main(["--output", str(tmp_path / "x"), "--clip_model", model])
    with pytest.raises(SystemExit, match="none is missing"):
        main(["--text", str(tmp_path / "none"), "--output", "x", "--clip_model", model])
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(SystemExit, match="text in .*empty"):
        main(["--vocab_text", str(tmp_path / "empty"), "--output", "x", "--clip_model", model])
    with pytest.raises(SystemExit, match="no file .*none.json"):
        main(["--output", "x", "--clip_model", str(tmp_path / "none.json")])
    with pytest.raises(SystemExit, match="keywords need CLIP.s own byte-pair tokenizer"):
        main(["--output", "x", "--clip_model", "ViT-B-16-SigLIP"])


@pytest.mark.slow
@pytest.mark.skipif(CAPTIONS is None or CHECKPOINT is None, reason="needs shared/")
def test_flickr8k_gives_the_originals_8112_ids(tmp_path: Path) -> None:
    from espnet_plugin.model.vocabulary import resolve_vocabulary
    from espnet_plugin.pretrained.convert.checkpoint import read_released_checkpoint
    from espnet_plugin.pretrained.convert.vocabulary_ids import recover_ids
    from tests.egs2.corpora import conftest  # noqa: F401  (makes local importable)

    from local.flickr8k.prepare import read_captions  # isort: skip

    assert CAPTIONS is not None and CHECKPOINT is not None
    captions, _ = read_captions(CAPTIONS)
    text = tmp_path / "captions"
    rows = [f"{image}_{n} {line}\n" for image, lines in captions.items() for n, line in lines]
    text.write_text("".join(sorted(rows)))
    output = tmp_path / "tokens.tsv"
    main(["--text", str(text), "--original", "--clip_model", "ViT-B-32", "--output", str(output)])
    vocabulary = resolve_vocabulary(output, special_ids=(49406, 49407))
    assert len(vocabulary) == 8112
    assert vocabulary.ids[:8] == (0, 320, 49406, 49407, 530, 518, 525, 533)
    assert vocabulary.forbidden == {0, 49406, 49407}
    weights = read_released_checkpoint(CHECKPOINT).weights
    table = weights["clip.original_text_emb_weight"]
    # equally frequent ones have another order there, as its sort happens to leave them
    originals = recover_ids(weights["clip.model.token_embedding.weight"], table)
    assert set(vocabulary.ids) == set(originals)
