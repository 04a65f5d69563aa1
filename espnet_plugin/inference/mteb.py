"""Models in MTEB, the Massive Text Embedding Benchmark: recordings, images and texts.

docs/mteb.md lists the tasks that fit, and how to submit results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from espnet_plugin.data.scp import DataError
from espnet_plugin.inference.speechclip import Branch, SpeechCLIP
from espnet_plugin.inference.utterance import MAX_SECONDS
from espnet_plugin.pretrained.fingerprint import model_fingerprint
from espnet_plugin.pretrained.released import released_model
from espnet_plugin.utils.progress import progress

try:
    from mteb.models import ModelMeta
    from mteb.models.abs_encoder import AbsEncoder
except ModuleNotFoundError as error:
    raise ImportError(f"MTEB's tasks need mteb: pip install mteb (extra: mteb); {error}") from error

if TYPE_CHECKING:
    from torch.utils.data import DataLoader


class MTEBModel(AbsEncoder):
    """A trained model as MTEB's tasks call it.

    Example:
        >>> model = MTEBModel("exp/speechclip_flickr8k_hybrid_plus")
        >>> mteb.evaluate(model, mteb.get_tasks(tasks=["SpokenCOCOA2IRetrieval"]))

    Set what the files do not have (languages, your model's licence, training data) by
    ``model.mteb_model_meta = model.mteb_model_meta.model_copy(update={...})``.

    Args:
        model_name: Whatever :meth:`SpeechCLIP.from_pretrained` takes.
        revision: The first 16 digits of the fingerprint, see ``speechclip info``, that it must
            have; None: any.
        device: Torch device; None: a GPU where there is one.
        branch: Of recordings, as for :meth:`SpeechCLIP.encode_speech`. One that is not the model's
            default is an experiment of its own among MTEB's results.
        max_seconds: As for :meth:`SpeechCLIP.from_pretrained`.
        trust_remote_code: Likewise.

    Raises:
        FileNotFoundError: If there is no such model.
        ValueError: If it has no such branch, or is another revision.
    """

    def __init__(
        self,
        model_name: str | Path,
        revision: str | None = None,
        *,
        device: str | None = None,
        branch: Branch | None = None,
        max_seconds: float = MAX_SECONDS,
        trust_remote_code: bool = False,
    ) -> None:
        self.model = SpeechCLIP.from_pretrained(
            model_name,
            device=device,
            max_seconds=max_seconds,
            trust_remote_code=trust_remote_code,
        )
        self.model.encode_speech([], branch=branch)  # finds an unknown branch now
        self.branch = branch
        self.mteb_model_meta = model_meta(self.model, branch=branch)
        found = self.mteb_model_meta.revision
        if revision not in (None, found):
            raise ValueError(f"{model_name}: is revision {found}, not {revision}")

    def encode(
        self,
        inputs: DataLoader,
        *,
        task_metadata: Any,
        prompt_type: Any = None,
        **kwargs: Any,
    ) -> np.ndarray:
        """Embeds the rows of a task.

        Of a row with several modalities the embeddings are added. Prompts and instructions are not
        used: the model knows none.

        Args:
            inputs: Batches with ``audio`` (``array`` and ``sampling_rate``), ``image`` or ``text``.
            task_metadata: Of the task; its name is shown.
            prompt_type: Whether these are queries or documents; shown.
            **kwargs: Other arguments of MTEB; only ``show_progress_bar`` is used.

        Returns:
            (rows, dim).

        Raises:
            DataError: If a recording or an image cannot be used, or a batch has none of these
                columns; the task, the batch and the item are named.
        """
        what = " ".join(filter(None, (task_metadata.name, prompt_type and prompt_type.value)))
        if kwargs.get("show_progress_bar", True):
            inputs = progress(inputs, description=what, unit="batch")
        rows = [np.zeros((0, self.model.embedding_dim), dtype=np.float32)]
        for number, batch in enumerate(inputs):
            try:
                rows.append(self._encode_batch(batch))
            except ValueError as error:
                raise DataError(f"{what}, batch {number}: {error}") from error
        return np.concatenate(rows)

    def _encode_batch(self, batch: Mapping[str, Sequence[Any]]) -> np.ndarray:
        encoders = {
            "audio": partial(self.model.encode_speech, branch=self.branch),
            "image": self.model.encode_image,
            "text": self.model.encode_text,
        }
        parts = [encode(batch[name]) for name, encode in encoders.items() if name in batch]
        if not parts:
            raise DataError(
                f"a SpeechCLIP model takes {', '.join(encoders)}; this task gives "
                f"{', '.join(batch)}"
            )
        return np.sum(parts, axis=0)


def model_meta(model: SpeechCLIP, *, branch: Branch | None = None) -> ModelMeta:
    """What MTEB writes beside a model's results; unknown values are None.

    Args:
        model: The model. CLIP's image tower is loaded to be counted.
        branch: Of recordings; None: the model's default.
    """
    speech, image_tower = model.model, model._clip_with_images().image_tower
    weights = [*speech.parameters(), *image_tower.parameters()]
    return ModelMeta(
        **_origin(model.source),
        revision=model_fingerprint(model.source)[:16],
        n_parameters=sum(weight.numel() for weight in weights),
        memory_usage_mb=sum(weight.numel() * weight.element_size() for weight in weights) / 2**20,
        max_tokens=speech.clip.context_length,
        embed_dim=model.embedding_dim,
        modalities=["audio", "image", "text"],
        similarity_fn_name="cosine",
        framework=["PyTorch"],
        use_instructions=False,
        experiment_kwargs=None if branch in (None, model.branches[0]) else {"branch": branch},
        release_date=None,
        languages=None,
        public_training_data=None,
        training_datasets=None,
    )


def _origin(source: str | Path) -> dict[str, Any]:
    """Name, licence and the like of a model that lies here, was released, or is on the hub."""
    path, released = Path(source).expanduser(), released_model(str(source))
    facts = {"loader": None, "license": None, "open_weights": None, "public_training_code": None}
    if path.exists():  # it wins, as in resolve_model
        folder = path.parent if path.suffix == ".pth" else path
        return {**facts, "name": f"local/{folder.resolve().name}"}
    facts |= {"open_weights": True, "reference": f"https://huggingface.co/{source}"}
    if not released:  # the licence is what push_to_hub's card says
        return {**facts, "name": str(source), "loader": MTEBModel, "license": "apache-2.0"}
    return facts | {
        "name": f"{released.repository.partition('/')[0]}/{released.name}",
        "license": "not specified",
        "public_training_code": released.code,
        "reference": f"https://huggingface.co/{released.repository}",
    }
