"""MTEB runs a task, given as its datasets are, and counts what we count."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mteb", reason="pip install '.[mteb]'")
import datasets
import mteb
import numpy as np
from datasets import Dataset
from mteb.models import EncoderProtocol
from torch.utils.data import DataLoader

from espnet_plugin import SpeechCLIP
from espnet_plugin.evaluation.retrieval import rank_embeddings, summarize
from espnet_plugin.inference.mteb import mteb_model
from espnet_plugin.model.factory import build_speechclip
from espnet_plugin.pretrained import save_speechclip
from espnet_plugin.pretrained.description import describe_model
from tests.espnet_plugin.conftest import TinyCorpus
from tests.local_hub import only_hub
from tests.pages import PROJECT
from tests.tiny import CLIP_DIM, tiny_hybrid_plus_config

OWN_TASK = PROJECT / "docs" / "examples" / "mteb_task.py"
LOADER = """
import mteb
model = mteb.get_model("owner/model", device="cpu", trust_remote_code=True)
meta = model.mteb_model_meta
kinds = sorted(meta.modalities)
print(type(model).__name__, *kinds, meta.similarity_fn_name.value, model.model.encode(["a"]).shape)
"""


@pytest.mark.slow  # mteb takes seconds to load and write four small datasets
def test_the_examples_task_scores_as_we_do(
    exported: Path, tiny_corpus: TinyCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    for target, source in (("data/mini_test", tiny_corpus.data), ("exp/mini", exported)):
        (tmp_path / target).parent.mkdir()
        (tmp_path / target).symlink_to(source)
    (tmp_path / "exp" / "mini").rename(tmp_path / "exp" / "speechclip_mini_hybrid_plus")
    monkeypatch.chdir(tmp_path)
    given = ["data/mini_test", "exp/speechclip_mini_hybrid_plus", "exp/mteb"]
    monkeypatch.setattr(sys, "argv", [str(OWN_TASK), *given])
    names = runpy.run_path(str(OWN_TASK), run_name="__main__")
    results = list(names["result"].task_results)

    images = tiny_corpus.utt2image
    captions = {utterance: f"{number} dogs" for number, utterance in enumerate(images)}
    texts = Dataset.from_dict({"id": list(captions), "text": list(captions.values())})
    pairs = [(a, b) for a in images for b in images if images[a] == images[b]]
    folder, speech = names["folder"], names["speech"]
    more = [
        names["retrieval_task"](folder / "OwnA2T", "a2t", speech, texts, pairs),
        names["retrieval_task"](folder / "OwnT2A", "t2a", texts, speech, pairs),
    ]
    results += mteb.evaluate(names["model"], more, cache=None).task_results
    scores = {result.task_name: result.scores["test"][0] for result in results}

    own = SpeechCLIP.from_pretrained(exported, device="cpu")
    spoken = own.encode_speech(list(names["wavs"].values()))
    utterances, pictures = [images[key] for key in names["wavs"]], names["images"]
    others = {
        ("OwnA2I", "OwnI2A"): (own.encode_image(list(pictures.values())), list(pictures)),
        ("OwnA2T", "OwnT2A"): (own.encode_text(captions.values()), [images[u] for u in captions]),
    }
    for tasks, (rows, ids) in others.items():
        for task, ranks in zip(tasks, rank_embeddings(spoken, rows, utterances, ids), strict=True):
            recall = summarize(ranks, recall_at=(1, 3, 5)).recall
            found = {k: scores[task][f"hit_rate_at_{k}"] for k in recall}
            assert found == pytest.approx(recall, abs=1e-5), task  # MTEB rounds to five digits

    # a branch, or another model of that name, does not get the stored results
    other = tmp_path / "other" / "speechclip_mini_hybrid_plus"
    config = tiny_hybrid_plus_config(tmp_path)
    save_speechclip(build_speechclip(config).eval(), config, other)
    cascaded = mteb_model("exp/speechclip_mini_hybrid_plus", branch="cascaded")
    stored = mteb.ResultCache(folder / "results").load_task_result
    assert stored("OwnA2I", names["model"].mteb_model_meta) is not None
    assert stored("OwnA2I", cascaded.mteb_model_meta) is None
    assert stored("OwnA2I", mteb_model(other).mteb_model_meta) is None
    task = names["tasks"][0].metadata
    where = {"task_metadata": task, "hf_split": "test", "hf_subset": "default"}
    rows = cascaded.encode(DataLoader(speech, batch_size=4), **where)
    wanted = own.encode_speech(list(names["wavs"].values()), branch="cascaded")
    np.testing.assert_allclose(rows, wanted, atol=1e-5)


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


def test_what_the_model_says_of_itself(exported: Path, tmp_path: Path) -> None:
    model = mteb_model(exported, device="cpu")
    assert isinstance(model, EncoderProtocol)
    meta = model.mteb_model_meta
    assert (meta.name, meta.embed_dim, meta.experiment_kwargs) == ("local/model", CLIP_DIM, None)
    assert meta.modalities == ["audio", "image", "text"] and meta.similarity_fn_name == "cosine"
    assert describe_model(exported)["fingerprint"].startswith(meta.revision)
    with pytest.raises(ValueError, match="branch 'other': choose from"):
        mteb_model(exported, device="cpu", branch="other")


def test_without_mteb_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "espnet_plugin.inference.mteb")
    monkeypatch.setitem(sys.modules, "mteb.models", None)
    with pytest.raises(ImportError, match=r"pip install mteb"):
        import espnet_plugin.inference.mteb  # noqa: F401
