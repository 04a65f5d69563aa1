"""Writes ``scores.json``, ``RESULTS.md`` and ``report.html`` into an inference directory."""

from __future__ import annotations

import logging
import os
from functools import cache, partial
from pathlib import Path
from urllib.parse import quote

from espnet_plugin.data.inference_set import UTTERANCES, InferenceSet, read_inference_set
from espnet_plugin.evaluation.queries import choose_examples
from espnet_plugin.evaluation.report.material import Material, read_material, read_words
from espnet_plugin.evaluation.report.media import encode_image, media_uri
from espnet_plugin.evaluation.report.render import TEMPLATES, DrawnUtterance, ReportFigure
from espnet_plugin.evaluation.report.utterances import draw_utterances
from espnet_plugin.evaluation.retrieval import rank_embeddings
from espnet_plugin.evaluation.scores.experiment import choices, score_experiment
from espnet_plugin.evaluation.scores.retrieval import speech_embeddings
from espnet_plugin.evaluation.training_log import read_epochs
from espnet_plugin.utils.atomic import write_text
from espnet_plugin.utils.disk import size_text
from espnet_plugin.utils.small_files import read_yaml

RESULTS_FILE = "RESULTS.md"
REPORT_FILE = "report.html"
_DOCS = Path(__file__).parents[3] / "docs" / "concepts.md"


def write_results(
    inference_dir: str | Path,
    *,
    test_set: str | None = None,
    dev_set: str | None = None,
    experiment: str | Path | None = None,
    data_dir: str | Path | None = None,
    train_dir: str | Path | None = None,
    figures: bool = True,
    report: bool = True,
) -> dict:
    """Scores a set and writes the reports.

    Args:
        inference_dir: Directory that holds one directory per set.
        test_set: Name of the set to report; not needed if only one set is not a dev set.
        dev_set: Name of the set that selects the weight of fusion; without one, there is no fusion.
        experiment: Experiment directory; by default the parent of ``inference_dir``.
        data_dir: Data directory of the test set, with recordings, images and alignments.
        train_dir: Data directory of the training set, whose images the dev set searches, too.
        figures: Whether to draw figures.
        report: Whether to write report.html; if not, an earlier one is removed.

    Returns:
        The content of scores.json.
    """
    inference_dir = Path(inference_dir)
    experiment = Path(experiment) if experiment else inference_dir.parent
    data_dir = Path(data_dir) if data_dir else None
    directory = inference_dir / (test_set or only_test_set(inference_dir))
    scores = score_experiment(
        inference_dir,
        experiment,
        directory,
        dev_set=dev_set,
        data_dir=data_dir,
        train_dir=Path(train_dir) if train_dir else None,
    )
    # stage 10 calls the folder of every model so
    title = (experiment.resolve().parent if experiment.name == "model" else experiment).name
    data = read_inference_set(directory)
    material = read_material(data, data_dir)
    drawn = _draw(data, experiment) if figures else []
    text = TEMPLATES.get_template("results.md.jinja").render(
        scores=scores,
        title=title,
        figures=[(figure, os.path.relpath(figure.svg, inference_dir)) for figure in drawn],
        report_file=REPORT_FILE if report else None,
    )
    write_text(inference_dir / RESULTS_FILE, text)
    if not report:
        (inference_dir / REPORT_FILE).unlink(missing_ok=True)
        return scores
    systems = speech_embeddings(data, choices(scores).get("fusion_weight"))
    ranks = {
        system: rank_embeddings(speech, data.image, data.image_of, data.images)[0]
        for system, speech in systems.items()
    }
    page = TEMPLATES.get_template("report.html.jinja").render(
        scores=scores,
        title=title,
        figures=drawn,
        utterances=_utterances(data, experiment, material, data_dir) if figures else [],
        examples=choose_examples(data, ranks),
        material=material,
        docs=quote(os.path.relpath(_DOCS, inference_dir)) if _DOCS.exists() else None,
        image_uri=cache(partial(media_uri, encode=encode_image)),
    )
    write_text(inference_dir / REPORT_FILE, page)
    size = size_text(len(page.encode()))
    logging.info(f"{inference_dir / REPORT_FILE}: {size}")
    return scores


def only_test_set(inference_dir: Path) -> str:
    """Name of the test set of an inference directory.

    Raises:
        ValueError: If there is none, or several.
    """
    sets = sorted(path.parent.name for path in inference_dir.glob(f"*/{UTTERANCES}"))
    tests = [name for name in sets if "test" in name] or sets
    if len(tests) != 1:
        raise ValueError(f"{inference_dir} holds the sets {sets}: say which to report (test_set)")
    return tests[0]


def _draw(data: InferenceSet, experiment: Path) -> list[ReportFigure]:
    try:
        from espnet_plugin.evaluation.report.figures import draw_figures
    except ImportError as error:
        logging.warning(f"no figures ({error}): pip install matplotlib (extra: recipe)")
        return []
    return draw_figures(data, read_epochs(experiment))


def _utterances(
    data: InferenceSet, experiment: Path, material: Material, data_dir: Path | None
) -> list[DrawnUtterance]:
    config = experiment / "config.yaml"
    options = read_yaml(config) if config.exists() else None
    cif = (options or {}).get("keyword_extractor_conf") or {}
    words = read_words(data_dir)
    threshold = cif.get("threshold", 1.0)
    return list(draw_utterances(data, material.audio, words, threshold=threshold))
