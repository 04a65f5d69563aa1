"""What a published model says about itself, and its way to the Hugging Face hub."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet_plugin.pretrained.names import resolve_model
from espnet_plugin.pretrained.released import released_as
from espnet_plugin.pretrained.stored_model import read_stored_config
from espnet_plugin.pretrained.trust import lies_within
from espnet_plugin.speechclip.hub import check_hub_reachable

CARD_FILE, RESULTS_FILE, FIGURE_FILE = "README.md", "RESULTS.md", "figure.png"
_PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)]+)\)")
_PRIVATE_PART = re.compile(r"^## (?:Figures|Time|Environment)$", re.MULTILINE)
_SENTENCE_WITH_A_FILE = re.compile(r"[^.\n]*\[[^\]\n]+\]\((?!https?:)[^)\n]+\)\.?")
_CARD = """---
license: {license}
library_name: espnet
pipeline_tag: feature-extraction
tags:
- espnet
- speechclip
- audio
- audio-to-image-retrieval
---
# {name}

A SpeechCLIP(+) model: recordings, pictures and texts in one space, learned without transcripts.

| | |
|---|---|
{facts}

```python
from espnet_plugin import SpeechCLIP

model = SpeechCLIP.from_pretrained("{name}")
pictures = model.encode_image(["dog.jpg", "car.jpg"])
print(model.similarity(model.encode_speech("query.wav"), pictures))
print(model.keywords("query.wav"))
```

In s3prl: `-u speechclip_plus -k {name}`; in PyTorch alone: `load_speechclip("{name}")` of
`espnet_plugin.pretrained`.

{results}
## Licences

{licences} The frozen speech encoder and CLIP, and the corpus that the model was trained on, have
licences of their own, which bind whoever uses the model.

## Limits

- It learned from spoken descriptions of pictures. Of other speech (conversation, other languages,
  noise) it may make something that looks right and is not.
- Keywords are the sub-words nearest to what was heard, among those of the training captions. They
  are no transcript, and a high score is no proof that a word was said.
- One recording is one row: of long recordings it keeps the gist at best.
- What CLIP learned from the web, with its prejudices about people, is in every similarity.
"""


_NO_RESULTS = {
    False: "No results came with it.",
    True: "Its weights are not those that were trained and scored, so no results are shown.",
}
_OWN_LICENCE = "apache-2.0", "The trained weights and the code are Apache-2.0."


def write_model_card(
    directory: str | Path, source: str | Path, *, name: str, changed: bool = False
) -> None:
    """Writes the card of a model, and beside it the results and the figure that it shows.

    Args:
        directory: Of the published model.
        source: What ``load_speechclip`` takes. Of an experiment the newest results are taken, of a
            zip file or an export those that lie in it.
        name: What it will be loaded by.
        changed: The weights are no longer those of the source, whose results are not shown then.
    """
    directory = Path(directory)
    text, beside = ("", directory) if changed else _results(resolve_model(source))
    if text:
        text = _published(text, beside, directory)
        (directory / RESULTS_FILE).write_text(text, encoding="utf-8")
    facts = _facts(source)
    if changed and "converted" in facts:
        facts["converted"] += "; its weights were changed since"
    rows = "\n".join(f"| {key} | {value} |" for key, value in facts.items())
    # headings of the results go below the card's
    results = re.sub(r"^#", "##", text, flags=re.MULTILINE) or f"{_NO_RESULTS[changed]}\n"
    licence, licences = _licence(read_stored_config(source).get("converted_from"))
    card = _CARD.format(name=name, facts=rows, results=results, license=licence, licences=licences)
    (directory / CARD_FILE).write_text(card, encoding="utf-8")


def upload(directory: str | Path, repo: str, *, message: str, private: bool = False) -> None:
    """Uploads a directory to a repository of the hub, in one commit.

    Args:
        directory: What the repository will hold.
        repo: ``owner/model``; made if it is not there.
        message: Of the commit.
        private: Whether a new repository is.

    Raises:
        OSError: If the hub cannot be reached, or refuses.
    """
    from huggingface_hub import HfApi

    check_hub_reachable()
    api = HfApi()
    api.create_repo(repo, private=private, exist_ok=True)
    api.upload_folder(repo_id=repo, folder_path=Path(directory), commit_message=message)


def _licence(converted_from: str | None) -> tuple[str, str]:
    """The hub's name of the licence, and what the card says of it."""
    if converted_from is None:
        return _OWN_LICENCE
    released = released_as(converted_from)
    told = (
        f"{released.licence}. Ask the authors before you pass it on."
        if released
        else "whoever trained it says what may be done with it. This package's licence covers its "
        "code only."
    )
    return "other", f"The weights were converted from `{converted_from}`: {told}"


def _facts(source: str | Path) -> dict[str, str]:
    config = read_stored_config(source)
    clip = config.get("clip_conf") or {}
    extractor = config.get("keyword_extractor", "cif")
    branches = {
        "parallel (from the whole utterance)": (config.get("model_conf") or {}).get(
            "parallel", True
        ),
        f"cascaded (from keywords, {extractor})": extractor not in (None, "none"),
    }
    encoder = (config.get("speech_encoder_conf") or {}).get("model")
    facts = {
        "branches": " and ".join(name for name in branches if branches[name]),
        "speech encoder": f"{_public(encoder)}, frozen",
        "CLIP": f"{_public(clip.get('model'))}, frozen",
        "trained on": ", ".join(sorted(training_sets(config))),
    }
    released = released_as(config.get("converted_from", ""))
    if released is not None:
        facts["converted"] = released.description
    return {key: value for key, value in facts.items() if value}


def _public(value: Any) -> str:
    """A name on a hub as it is, of a path its last part."""
    return Path(str(value)).stem if Path(str(value)).is_absolute() else str(value)


def training_sets(config: Mapping[str, Any]) -> set[str]:
    """Names of the data folders that an experiment was trained on; of an export none are known."""
    listed = config.get("train_data_path_and_name_and_type") or ()
    return {Path(str(path)).parent.name for path, name, *_ in listed if name.startswith("speech")}


def _results(model: Path) -> tuple[str, Path]:
    """RESULTS.md of a model, empty if there is none, and where its links begin."""
    if model.is_file() and model.suffix != ".pth" and zipfile.is_zipfile(model):
        with zipfile.ZipFile(model) as archive:
            found = [name for name in archive.namelist() if Path(name).name == RESULTS_FILE]
            return (archive.read(found[0]).decode("utf-8") if found else ""), model
    pattern = RESULTS_FILE if model.is_dir() else f"*/{RESULTS_FILE}"
    folder = model if model.is_dir() else model.parent
    pages = sorted(folder.glob(pattern), key=lambda page: page.stat().st_mtime)
    return (pages[-1].read_text(encoding="utf-8"), pages[-1].parent) if pages else ("", folder)


def _published(text: str, beside: Path, directory: Path) -> str:
    """The results' tables and first figure, without what is said of files and runs here."""
    tables = _SENTENCE_WITH_A_FILE.sub("", _PRIVATE_PART.split(text)[0]).strip()
    for caption, link in _PICTURE.findall(text):
        figure = beside / link
        # what a model from elsewhere calls a figure may be any file of this machine
        if lies_within(figure, beside) and figure.suffix == ".png" and figure.is_file():
            shutil.copyfile(figure, directory / FIGURE_FILE)
            return f"{tables}\n\n## Figures\n\n![{caption}]({FIGURE_FILE})\n"
    return f"{tables}\n"
