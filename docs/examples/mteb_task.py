"""Score a model with MTEB on recordings and images of your own.

It needs ``pip install '.[mteb]'`` in the project's folder. Give it a data directory with
``wav.scp``, ``image.scp`` and ``utt2image``, a model, and a new folder for its files. On mini's
test set, after ``make demo``::

    cd egs2/speechclip_plus
    python ../../docs/examples/mteb_task.py data/mini_test exp/speechclip_mini_hybrid_plus exp/mteb

It prints the share of queries with a right answer among the first ten (R@10), for images that are
found by speech (``OwnA2I``) and for speech that is found by images (``OwnI2A``).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import mteb
import soundfile
from datasets import Dataset, Image
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata

from espnet_plugin.data.scp import read_scp
from espnet_plugin.inference.mteb import mteb_model

Modality = Literal["audio", "image", "text"]
Category = Literal["a2i", "i2a", "a2t", "t2a"]
MODALITIES: dict[str, Modality] = {"a": "audio", "i": "image", "t": "text"}


def retrieval_task(
    folder: Path,
    category: Category,
    queries: Dataset,
    corpus: Dataset,
    right: Iterable[tuple[str, str]],
) -> AbsTaskRetrieval:
    """Writes a dataset in the Hugging Face hub's format, and returns the task that reads it.

    Args:
        folder: New folder for the dataset; its name becomes the task's.
        category: What is asked and what is found, such as ``a2i``: images for audio.
        queries: Table with the column ``id``, and ``audio``, ``image`` or ``text``.
        corpus: Table of the same form, which is searched.
        right: Pairs of the ids of a query and of a right answer.
    """
    pairs = [{"query-id": query, "corpus-id": item, "score": 1} for query, item in right]
    tables = {"queries": queries, "corpus": corpus, "qrels": Dataset.from_list(pairs)}
    folder.mkdir(parents=True)
    lines = ["---", "configs:"]
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet")
        files = f"[{{split: test, path: {name}.parquet}}]"
        lines.append(f"- {{config_name: {name}, data_files: {files}}}")
    (folder / "README.md").write_text("\n".join([*lines, "---", ""]))
    metadata = TaskMetadata(
        name=folder.name,
        description="Recordings, images and captions that belong together",
        dataset={"path": str(folder), "revision": "1"},
        type="Any2AnyRetrieval",
        category=category,
        modalities=[MODALITIES[category[0]], MODALITIES[category[-1]]],
        eval_langs=["eng-Latn"],
        main_score="hit_rate_at_10",
    )
    return type(folder.name, (AbsTaskRetrieval,), {"metadata": metadata})()


def recording(path: str) -> dict[str, Any]:
    """Reads an audio file as MTEB takes it."""
    samples, rate = soundfile.read(path, dtype="float32")
    return {"array": samples, "sampling_rate": rate}


if __name__ == "__main__":
    data, name, folder = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    wavs, images = read_scp(data / "wav.scp"), read_scp(data / "image.scp")
    spoken = [{"id": key, "audio": recording(path)} for key, path in wavs.items()]
    speech = Dataset.from_list(spoken)
    pictures = Dataset.from_dict({"id": list(images), "image": list(images.values())})
    pictures = pictures.cast_column("image", Image())
    pairs = read_scp(data / "utt2image").items()
    tasks = [
        retrieval_task(folder / "OwnA2I", "a2i", speech, pictures, pairs),
        retrieval_task(folder / "OwnI2A", "i2a", pictures, speech, [(i, u) for u, i in pairs]),
    ]
    model = mteb_model(name)
    result = mteb.evaluate(model, tasks, cache=mteb.ResultCache(folder / "results"))
    print({task.task_name: task.get_score() for task in result.task_results})
