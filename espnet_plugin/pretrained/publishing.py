"""A published model's card, and its upload to the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet_plugin.pretrained.description import encoder_form
from espnet_plugin.pretrained.names import PACKED
from espnet_plugin.pretrained.released import released_as
from espnet_plugin.pretrained.storage import open_model
from espnet_plugin.pretrained.stored_model import StoredModel
from espnet_plugin.teachers.hub import check_hub_reachable, first_line
from espnet_plugin.teachers.trained_parts import trains_encoder
from espnet_plugin.utils.constants import CHOICES_FILE

CARD_FILE, RESULTS_FILE = "README.md", "RESULTS.md"
# they make an exported model one of sentence-transformers, too
MODULES = ("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json")
_PRIVATE = ("## Figures", "## Time", "## Environment")  # chapters of RESULTS.md
_OWN_LICENCE = (
    "other",
    "The people who trained this model decide under which licence its trained weights are. The "
    "code is Apache-2.0.",
)


def write_model_card(
    directory: str | Path,
    source: str | Path,
    *,
    name: str,
    changed: bool = False,
    licence: tuple[str, str] | None = None,
) -> None:
    """Writes the card of a model, and the tables of its results as RESULTS.md beside it.

    Args:
        directory: Directory of the published model.
        source: A model in any form that ``load_speechclip`` takes. An experiment's newest results
            are used, or those in a model's folder.
        name: Name that it will be loaded by.
        changed: Whether the weights differ from the source's, whose results are not shown then.
        licence: The hub's name of the trained weights' licence, and a sentence about it. By default
            the card says who decides.
    """
    directory = Path(directory)
    with open_model(source, trusted=True) as stored:  # nothing that it names is read
        config, tables = stored.config, "" if changed else _tables(_results(stored))
        facts = _facts(config)
    if tables:
        (directory / RESULTS_FILE).write_text(tables, encoding="utf-8")
    if changed and "converted" in facts:
        facts["converted"] += "; its weights were changed since"
    from espnet_plugin.utils.templates import templates_in

    licence = licence or _licence(config.get("converted_from"))
    template = templates_in(Path(__file__).parent).get_template("card.md.jinja")
    card = template.render(
        name=name,
        facts=facts,
        # headings of the results go below the card's
        results=("\n" + tables).replace("\n#", "\n##").strip(),
        changed=changed,
        license=licence[0],
        licences=licence[1],
        sentence_transformers=(directory / MODULES[0]).is_file(),
    )
    (directory / CARD_FILE).write_text(card, encoding="utf-8")


def upload(directory: str | Path, repo: str, *, private: bool = False) -> None:
    """Uploads a directory to a repository ``owner/model`` of the hub, in one commit.

    The same commit removes an older model's ``model.zip`` there, and its choices and results where
    the directory has none.

    Raises:
        OSError: If the hub cannot be reached, or refuses.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        check_hub_reachable()
        api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repo,
            folder_path=Path(directory),
            commit_message="Upload a SpeechCLIP model",
            delete_patterns=[PACKED, CHOICES_FILE, RESULTS_FILE],  # but those in the directory
        )
    except (OSError, ValueError) as error:
        raise OSError(
            f"upload to {repo} failed: {first_line(error)}. Are you logged in (hf auth login)?"
        ) from error


def _licence(converted_from: str | None) -> tuple[str, str]:
    """The hub's name of the licence, and the card's sentence about it."""
    if converted_from is None:
        return _OWN_LICENCE
    released = released_as(converted_from)
    terms = (
        f"{released.licence}. Ask the authors before you pass it on."
        if released
        else "ask the people who trained it. This package's licence covers its code only."
    )
    return "other", f"The weights were converted from `{converted_from}`: {terms}"


def _facts(config: Mapping[str, Any]) -> dict[str, str]:
    clip = config.get("clip_conf") or {}
    extractor = config.get("keyword_extractor", "cif")
    branches = {
        "parallel": (config.get("model_conf") or {}).get("parallel", True),
        f"cascaded (keywords by {extractor})": extractor not in (None, "none"),
    }
    encoder = config.get("speech_encoder_conf") or {}
    name = encoder_form(encoder.get("model")) or _public(encoder.get("model"))
    trained = "trained in parts" if trains_encoder(encoder) else "frozen"
    facts = {
        "branches": " and ".join(name for name in branches if branches[name]),
        "speech encoder": f"{name}, {trained}",
        "CLIP": f"{_public(clip.get('model'))}, frozen",
        "trained on": ", ".join(sorted(training_sets(config))),
        "speech in": ", ".join(map(str, config.get("spoken_languages") or ())),
    }
    share = config.get("synthetic_speech")
    if isinstance(share, float) and share > 0:
        facts["voices"] = f"synthetic (eSpeak NG) in {share:.0%} of the training recordings"
    released = released_as(config.get("converted_from", ""))
    if released is not None:
        facts["converted"] = released.description
    return {key: value for key, value in facts.items() if value}


def _public(value: Any) -> str:
    """A name for the card: one on a hub as it is, of a path only its last part."""
    return Path(str(value)).stem if Path(str(value)).is_absolute() else str(value)


def training_sets(config: Mapping[str, Any]) -> set[str]:
    """Names of the data folders that an experiment was trained on; an export knows of none."""
    listed = config.get("train_data_path_and_name_and_type") or ()
    return {Path(str(path)).parent.name for path, name, *_ in listed if name.startswith("speech")}


def _results(stored: StoredModel) -> str:
    """RESULTS.md of a model, the newest of an experiment; empty if there is none."""
    pattern = f"*/{RESULTS_FILE}" if stored.root is None else RESULTS_FILE
    found = stored.weights_file.parent.glob(pattern)
    pages = sorted(found, key=lambda page: page.stat().st_mtime)
    return pages[-1].read_text(encoding="utf-8") if pages else ""


def _tables(text: str) -> str:
    """Headings and tables of the results; sentences and later chapters name files and machines."""
    kept = []
    for line in text.splitlines():
        if line.strip() in _PRIVATE:
            break
        if line.startswith(("#", "|")):
            kept.append(line)
        elif kept and kept[-1]:
            kept.append("")
    return "\n".join(kept).strip() + "\n" if kept else ""
