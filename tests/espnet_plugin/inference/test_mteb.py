"""MTEB runs a task, given as its datasets are, and counts what we count."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("mteb", reason="pip install '.[mteb]'")
import datasets
import mteb
from datasets import Dataset
from mteb.models import EncoderProtocol, SentenceTransformerEncoderWrapper
from torch.utils.data import DataLoader

from espnet_plugin import SpeechCLIP
from espnet_plugin.data.scp import DataError
from espnet_plugin.evaluation.retrieval import rank_embeddings, summarize
from espnet_plugin.inference.mteb import MTEBModel, model_meta
from espnet_plugin.pretrained import load_speechclip
from espnet_plugin.pretrained.description import describe_model
from tests.espnet_plugin.conftest import TinyCorpus
from tests.local_hub import only_hub
from tests.pages import PROJECT, blocks
from tests.tiny import CLIP_DIM

OWN_TASK = list(blocks(PROJECT / "docs" / "mteb.md"))[1][2]
LOADER = """
import mteb
model = mteb.get_model("owner/model", device="cpu", trust_remote_code=True)
meta = model.mteb_model_meta
kinds = sorted(meta.modalities)
print(type(model).__name__, *kinds, meta.similarity_fn_name.value, model.model.encode(["a"]).shape)
"""
RNG = np.random.RandomState(0)


@pytest.fixture(scope="module")
def model(exported: Path) -> MTEBModel:
    return MTEBModel(exported, device="cpu")


def encode(model: MTEBModel, rows: list[dict[str, Any]]) -> np.ndarray:
    task = mteb.get_task("SpokenCOCOA2IRetrieval").metadata
    loader = DataLoader(Dataset.from_list(rows), batch_size=2, collate_fn=columns)
    return model.encode(loader, task_metadata=task, hf_split="test", hf_subset="default")


def columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


@pytest.mark.slow  # mteb takes seconds to load and write four small datasets
def test_the_pages_task_scores_as_we_do(
    exported: Path, tiny_corpus: TinyCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    for target, source in (("data/mini_test", tiny_corpus.data), ("exp/mini", exported)):
        (tmp_path / target).parent.mkdir()
        (tmp_path / target).symlink_to(source)
    (tmp_path / "exp" / "mini").rename(tmp_path / "exp" / "speechclip_mini_hybrid_plus")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(OWN_TASK, "mteb.md", "exec"), names)
    results = list(names["result"].task_results)

    images = tiny_corpus.utt2image
    captions = {utterance: f"{number} dogs" for number, utterance in enumerate(images)}
    texts = Dataset.from_dict({"id": list(captions), "text": list(captions.values())})
    pairs = [(a, b) for a in images for b in images if images[a] == images[b]]
    folder, speech = names["folder"], names["speech"]
    more = [
        names["retrieval_task"](folder / "MiniA2T", "a2t", speech, texts, pairs),
        names["retrieval_task"](folder / "MiniT2A", "t2a", texts, speech, pairs),
    ]
    results += mteb.evaluate(names["model"], more, cache=None).task_results
    scores = {result.task_name: result.scores["test"][0] for result in results}

    own = SpeechCLIP.from_pretrained(exported, device="cpu")
    spoken = own.encode_speech(list(names["wavs"].values()))
    utterances, pictures = [images[key] for key in names["wavs"]], names["images"]
    others = {
        ("MiniA2I", "MiniI2A"): (own.encode_image(list(pictures.values())), list(pictures)),
        ("MiniA2T", "MiniT2A"): (own.encode_text(captions.values()), [images[u] for u in captions]),
    }
    for tasks, (rows, ids) in others.items():
        for task, ranks in zip(tasks, rank_embeddings(spoken, rows, utterances, ids), strict=True):
            recall = summarize(ranks, recall_at=(1, 3, 5)).recall
            found = {k: scores[task][f"hit_rate_at_{k}"] for k in recall}
            assert found == pytest.approx(recall, abs=1e-5), task  # MTEB rounds to five digits
    assert list((folder / "results").rglob("MiniA2I.json"))

    # MTEB's own class, of the exported model in sentence-transformers
    own.save_pretrained(tmp_path / "saved")
    theirs = SentenceTransformerEncoderWrapper(
        str(tmp_path / "saved"), device="cpu", trust_remote_code=True
    )
    theirs.mteb_model_meta.modalities = ["audio", "image", "text"]  # which MTEB finds on the hub
    for result in mteb.evaluate(theirs, [*names["tasks"], *more], cache=None).task_results:
        found, expected = result.scores["test"][0], scores[result.task_name]
        assert found["ndcg_at_10"] == pytest.approx(expected["ndcg_at_10"], abs=1e-5)


@pytest.mark.slow  # a process that imports mteb
def test_mtebs_loader_takes_a_published_model(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_loopback")
    with only_hub(monkeypatch, tmp_path / "cache") as hub:
        SpeechCLIP.from_pretrained(exported, device="cpu").push_to_hub("owner/model")
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)  # which a new process reads
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
        found = subprocess.run(
            [sys.executable, "-c", LOADER], cwd=PROJECT, capture_output=True, text=True, check=True
        ).stdout.splitlines()[-1]
    assert found == f"SentenceTransformerEncoderWrapper audio image text cosine (1, {CLIP_DIM})"


def test_audio_of_any_rate_and_several_modalities(model: MTEBModel) -> None:
    assert isinstance(model, EncoderProtocol)
    rates, lengths = (16000, 44100, 8000), (8000, 30000, 5000)
    samples = [(0.1 * RNG.randn(n)).astype(np.float32) for n in lengths]
    audio = [{"array": s, "sampling_rate": r} for s, r in zip(samples, rates, strict=True)]
    rows = encode(model, [{"audio": item} for item in audio])
    expected = np.concatenate(
        [model.model.encode_speech(s, sampling_rate=r) for s, r in zip(samples, rates, strict=True)]
    )
    assert rows.shape == (3, CLIP_DIM) and np.abs(rows - expected).max() < 1e-5
    texts = ["a red dog", "a dog", "dogs"]
    both = encode(model, [{"audio": a, "text": t} for a, t in zip(audio, texts, strict=True)])
    assert np.abs(both - expected - model.model.encode_text(texts)).max() < 1e-5
    stereo = {"array": [samples[0], samples[0]], "sampling_rate": 16000}
    assert np.abs(encode(model, [{"audio": stereo}]) - rows[:1]).max() < 1e-5

    silent = {"array": [], "sampling_rate": 16000}
    with pytest.raises(DataError, match="SpokenCOCOA2IRetrieval, batch 1: item 0: audio is empty"):
        encode(model, [{"audio": item} for item in (*audio[:2], silent)])
    with pytest.raises(DataError, match="takes audio, image, text; this task gives video"):
        encode(model, [{"video": "a.mp4"}])


def test_what_the_model_says_of_itself(model: MTEBModel, exported: Path, tmp_path: Path) -> None:
    meta = model.mteb_model_meta
    assert (meta.name, meta.embed_dim, meta.max_tokens) == ("local/model", CLIP_DIM, 77)
    whole = load_speechclip(exported)
    assert meta.n_parameters == sum(p.numel() for p in whole.parameters())
    assert meta.modalities == ["audio", "image", "text"] and meta.similarity_fn_name == "cosine"
    assert (meta.license, meta.training_datasets, meta.experiment_kwargs) == (None, None, None)

    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", exported)
    with pytest.raises(ValueError, match=f"packed.zip: is revision {meta.revision}, not 1234"):
        MTEBModel(archive, "1234", device="cpu")
    assert describe_model(exported)["fingerprint"].startswith(meta.revision)
    assert model_meta(model.model, branch="parallel") == meta
    assert model_meta(model.model, branch="cascaded").experiment_kwargs == {"branch": "cascaded"}


def test_without_mteb_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "espnet_plugin.inference.mteb")
    monkeypatch.setitem(sys.modules, "mteb.models", None)
    with pytest.raises(ImportError, match=r"pip install mteb"):
        import espnet_plugin.inference.mteb  # noqa: F401
