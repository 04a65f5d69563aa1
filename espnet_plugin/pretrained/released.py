"""Names of the checkpoints that the authors of SpeechCLIP and SpeechCLIP+ released."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from espnet_plugin.utils.options import nearest
from espnet_plugin.utils.small_files import read_yaml

_TABLE = Path(__file__).with_name("released.yaml")


@dataclass(frozen=True)
class ReleasedModel:
    """A released checkpoint.

    Attributes:
        name: Name of the checkpoint here.
        architecture: Its architecture: parallel, cascaded, cascaded+, hybrid or hybrid+.
        speech_encoder: The frozen HuBERT: ``HuBERT base`` or ``HuBERT large``.
        clip: The frozen CLIP, under OpenAI's name.
        frozen_size: Size of the weights of both in bytes, which is most of the file.
        corpus: Name of the corpus that it was trained on.
        recall_at: Rank of the published recall, 1 or 10.
        recall: Published recall at that rank on the corpus's validation set, mean of speech to
            image and image to speech, in %.
        repository: Name of the repository on the Hugging Face hub.
        path: Path of the file in the repository.
        paper: The paper that describes it.
        code: Address of its authors' code.
        code_licence: Licence of that code, or None. The checkpoints have no published licence.
    """

    name: str
    architecture: str
    speech_encoder: str
    clip: str
    frozen_size: int
    corpus: str
    recall_at: int
    recall: float
    repository: str
    path: str
    paper: str
    code: str
    code_licence: str | None

    @property
    def description(self) -> str:
        """Architecture, training and published recall, in one line."""
        return (
            f"{self.architecture} of {self.paper} with {self.speech_encoder} and CLIP {self.clip}, "
            f"trained by its authors on {self.corpus}; published: {self.recall:.2f} % mean "
            f"recall@{self.recall_at} on the validation set"
        )

    @property
    def licence(self) -> str:
        """Licences of its parts, in one line."""
        code = f"is under {self.code_licence}" if self.code_licence else "has no licence either"
        return (
            f"the authors publish none for the checkpoint; their code ({self.code}) {code}; "
            "HuBERT and CLIP, whose weights are in it, keep their own. This package's licence "
            "covers its code only"
        )


def released_models() -> list[ReleasedModel]:
    """All released models: those on Flickr8k, base before large, and then those on SpokenCOCO."""
    return list(_table().values())


def released_model(name: str) -> ReleasedModel | None:
    """The released model of that name, or None."""
    return _table().get(name)


def released_as(file: str) -> ReleasedModel | None:
    """The released model whose checkpoint has that file name, or None."""
    return next((model for model in _table().values() if Path(model.path).name == file), None)


def nearest_names(name: str) -> list[str]:
    """At most three similar names of released models, the nearest first."""
    normalized = name.casefold().replace("_", "-").replace("+", "-plus")
    return nearest(normalized, _table(), most=3)


@functools.cache
def _table() -> dict[str, ReleasedModel]:
    content = read_yaml(_TABLE)
    return {
        name: ReleasedModel(
            name=name,
            **content["encoders"][entry.pop("encoders")],
            **content["repositories"][entry["repository"]],
            **entry,
        )
        for name, entry in content["models"].items()
    }
