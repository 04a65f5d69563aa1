"""A trained model in one line: recordings, pictures and texts as rows of one space."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from espnet_plugin.data.speech_activity import SILENT
from espnet_plugin.inference.batches import batches_by_length
from espnet_plugin.inference.clip import embed_pixels, embed_texts, read_pixels
from espnet_plugin.inference.embeddings import Embeddings, OnError, embed_items, items_of
from espnet_plugin.inference.keywords import HeardWord, words_of
from espnet_plugin.inference.publishing import upload, write_model_card
from espnet_plugin.inference.speechclip_inference import SpeechCLIPInference
from espnet_plugin.inference.utterance import (
    MAX_SECONDS,
    Utterance,
    read_utterance,
    utterance_name,
    utterance_seconds,
)
from espnet_plugin.pretrained.storage import load_clip, load_speechclip, save_loaded
from espnet_plugin.pretrained.storage_format import new_directory
from espnet_plugin.speechclip.clip import FrozenCLIP
from espnet_plugin.speechclip.model import SpeechOutput
from espnet_plugin.utils.device import torch_device
from espnet_plugin.utils.scratch import scratch_folder

if TYPE_CHECKING:
    from PIL.Image import Image

Branch = Literal["parallel", "cascaded", "both"]
BATCH_SECONDS = 100.0
BATCH_PICTURES = 64


class SpeechCLIP:
    """Recordings, pictures and texts as rows of one space, and the keywords of recordings.

    Example:
        >>> model = SpeechCLIP.from_pretrained("exp/speechclip_mini_hybrid_plus")
        >>> pictures = model.encode_image(["dog.jpg", "cat.jpg"])
        >>> model.similarity(model.encode_speech("query.wav"), pictures)
        >>> [(keyword.word, keyword.start, keyword.end) for keyword in model.keywords("query.wav")]

    Build it with :meth:`from_pretrained`.

    Args:
        inference: The model, on its device.
        source: Where a tower of CLIP is loaded from when it is needed first.
        trust_remote_code: Of the source, see :func:`load_speechclip`.
    """

    def __init__(
        self,
        inference: SpeechCLIPInference,
        *,
        source: str | Path,
        trust_remote_code: bool = False,
    ) -> None:
        self._inference = inference
        self.source = source
        self.trust_remote_code = trust_remote_code
        self._image_clip: FrozenCLIP | None = None

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        device: str | torch.device | None = None,
        max_seconds: float = MAX_SECONDS,
        trust_remote_code: bool = False,
    ) -> SpeechCLIP:
        """Loads a trained model; CLIP's towers follow when they are needed first.

        Args:
            name_or_path: An experiment, one of its checkpoints, a packed zip, an exported
                directory, or the name of a released model or of a repository on the Hugging Face
                hub.
            device: Torch device; None: a GPU where there is one.
            max_seconds: Of a longer recording only the beginning is heard, with a warning that
                names it. With HuBERT base a minute of speech needs about 1 GB. Keywords may reach
                less far, see :attr:`keyword_seconds`.
            trust_remote_code: Whoever made the model is trusted: it may name what can run code that
                comes with it.

        Raises:
            FileNotFoundError: If there is no such file or directory, nor such a name.
            UntrustedModelError: If it names what may run code, and is not trusted.
            ValueError: If it holds no model, or there is no such device.
        """
        device = torch_device(device)
        trusted = {"trust_remote_code": trust_remote_code}
        model = load_speechclip(name_or_path, image_tower=False, text_tower=False, **trusted)
        inference = SpeechCLIPInference(model=model, device=device, max_seconds=max_seconds)
        return cls(inference, source=name_or_path, **trusted)

    @property
    def inference(self) -> SpeechCLIPInference:
        """The model for one utterance or a batch, with CLIP's text tower."""
        model = self._inference.model
        if model.clip.text_tower is None:
            trusted = self.trust_remote_code
            clip = load_clip(self.source, image_tower=False, trust_remote_code=trusted)
            model.clip = clip.to(self._inference.device)
        return self._inference

    @property
    def branches(self) -> tuple[str, ...]:
        """Branches that the model has, the default first."""
        model = self._inference.model
        has = {
            "parallel": model.parallel_projection is not None,
            "cascaded": model.keyword_extractor is not None,
        }
        return tuple(name for name in has if has[name])

    @property
    def embedding_dim(self) -> int:
        """Length of a row."""
        return self._inference.model.clip.embedding_dim

    @property
    def sampling_rate(self) -> int:
        """Hz that the model hears; recordings of another rate are resampled."""
        encoder = self._inference.model.speech_encoder
        assert encoder is not None  # inference refuses models without one
        return encoder.sampling_rate

    @property
    def max_seconds(self) -> float:
        """Of a longer recording only the beginning is heard."""
        return self._inference.max_seconds

    @property
    def keyword_seconds(self) -> float | None:
        """About how many seconds of a recording the keywords hear, see
        :attr:`SpeechCLIPInference.keyword_seconds`; the rest is warned of, and cannot be had by
        ``max_seconds``. The parallel branch hears all."""
        return self._inference.keyword_seconds

    def to(self, device: str | torch.device) -> SpeechCLIP:
        """Moves the model; returns it."""
        self._inference.device = torch_device(device)
        self._inference.model.to(device)
        if self._image_clip is not None:
            self._image_clip.to(device)
        return self

    def encode_speech(
        self,
        speech: Utterance | Iterable[Utterance],
        *,
        sampling_rate: int | None = None,
        branch: Branch | None = None,
        on_error: OnError = "raise",
    ) -> Embeddings:
        """Embeds recordings.

        They run in batches of similar length, the longest first, of 100 seconds in all or one
        recording that is longer, of which the first ``max_seconds`` are heard.

        Args:
            speech: A file or the samples of one recording, (samples,) or (samples, channels),
                floating point in [-1, 1] or integers as recordings hold them; or many of these.
            sampling_rate: Of samples in Hz; None: the model's. Files say their own.
            branch: ``parallel`` (from the whole utterance), ``cascaded`` (from its keywords), or
                ``both`` (their mean, which ranks as the mean of both similarities does); None:
                parallel if the model has that branch.
            on_error: What a recording that cannot be used does: it raises, or is left out and named
                in a warning and in :attr:`Embeddings.skipped`.

        Returns:
            A row for each recording.

        Raises:
            DataError: When a recording cannot be used; it is named.
            ValueError: If the model has no such branch.
        """
        names = self._branches_of(branch)
        items = items_of(speech)
        inference = self.inference if "cascaded" in names else self._inference
        wanted, most = self.sampling_rate, self.max_seconds

        def read(item: Utterance) -> tuple[str, np.ndarray]:
            rate = _rate_of(item, sampling_rate)
            samples = read_utterance(item, sampling_rate=rate, wanted_rate=wanted, max_seconds=most)
            return utterance_name(item), samples

        def encode(batch: list[tuple[str, np.ndarray]]) -> np.ndarray:
            output = _outputs([samples for _, samples in batch], inference)
            if "cascaded" in names:
                for (name, _), result in zip(batch, inference.results(output), strict=True):
                    inference.warn_of_the_rest(name, result)
            rows = sum(getattr(output, name).float().cpu().numpy() for name in names)
            return rows if len(names) == 1 else rows / np.linalg.norm(rows, axis=1, keepdims=True)

        seconds = dict(enumerate(utterance_seconds(item, sampling_rate) for item in items))
        return embed_items(
            items,
            batches=batches_by_length(seconds, BATCH_SECONDS),
            read=read,
            encode=encode,
            dim=self.embedding_dim,
            on_error=on_error,
            what="recordings",
        )

    def encode_image(
        self,
        images: str | Path | Image | np.ndarray | Iterable[str | Path | Image | np.ndarray],
        *,
        on_error: OnError = "raise",
    ) -> Embeddings:
        """Embeds pictures by CLIP's image tower, which is loaded when the first ones come.

        Args:
            images: A picture, see :func:`espnet_plugin.data.images.read_image`, or many.
            on_error: As for :meth:`encode_speech`.

        Returns:
            A row for each picture.

        Raises:
            DataError: When a picture cannot be used; it is named.
        """
        clip = self._clip_with_images()
        items = items_of(images)
        positions = range(len(items))
        starts = positions[::BATCH_PICTURES]
        return embed_items(
            items,
            batches=[positions[start : start + BATCH_PICTURES] for start in starts],
            read=partial(read_pixels, clip.preprocess),
            encode=partial(embed_pixels, clip),
            dim=self.embedding_dim,
            on_error=on_error,
            what="pictures",
        )

    def encode_text(self, texts: str | Iterable[str]) -> Embeddings:
        """Embeds texts by CLIP's own text tower; what is longer than it reads is cut.

        Args:
            texts: A text, or many.

        Returns:
            A row for each text.
        """
        items = items_of(texts)
        wrong = next((item for item in items if not isinstance(item, str)), None)
        if wrong is not None:
            raise TypeError(f"a text of type {type(wrong).__name__}: give strings")
        if not items:
            return Embeddings.of(np.zeros((0, self.embedding_dim)), kept=())
        rows = embed_texts(self.inference.model.clip, items, description="texts")
        return Embeddings.of(rows, kept=range(len(items)))

    def keywords(self, speech: Utterance, *, sampling_rate: int | None = None) -> list[HeardWord]:
        """Words that the model hears in a recording, in their order; none if it is silent.

        Args:
            speech: As for :meth:`encode_speech`, one recording.
            sampling_rate: Of samples in Hz; None: the model's.

        Raises:
            DataError: When the recording cannot be used.
            ValueError: If the model extracts no keywords.
        """
        if "cascaded" not in self.branches:
            raise ValueError(f"{self.source}: this architecture (parallel) has no keywords")
        samples = read_utterance(
            speech,
            sampling_rate=sampling_rate,
            wanted_rate=self.sampling_rate,
            max_seconds=self.max_seconds,
        )
        if np.abs(samples).max() < SILENT:
            return []
        outputs = _outputs([samples], self._inference)
        heard = self._inference.results(outputs)[0].keywords or ()
        return words_of(heard, self._inference.model.clip)

    @staticmethod
    def similarity(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Cosine similarity of each embedding with each of others, (rows, columns)."""
        return np.asarray(rows) @ np.asarray(columns).T

    def save_pretrained(self, directory: str | Path, *, force: bool = False) -> None:
        """Writes the model as it is in memory, as a directory that loads by itself, with a card.

        Trained weights that you changed are saved as they are now; the card then shows no results.
        The frozen models and the configuration are copied from the source.

        Args:
            directory: Where; it appears when it is complete.
            force: Replace a directory that is not empty.

        Raises:
            FileExistsError: If the directory is not empty.
            FileNotFoundError: If the source is gone.
            ValueError: If a frozen weight or an option changed in memory; the message names it.
        """
        with new_directory(directory, force=force) as target:
            self._write(target, name=Path(directory).name)

    def push_to_hub(self, repo: str, *, private: bool = False) -> None:
        """Publishes the model, in one commit, for ``from_pretrained(repo)``.

        Args:
            repo: ``owner/model`` on the Hugging Face hub; made if it is not there.
            private: Whether a new repository is.

        Raises:
            OSError: If the hub cannot be reached, or nobody is logged in.
            ValueError: As for :meth:`save_pretrained`.
        """
        with scratch_folder() as folder:
            model = folder / "model"
            self._write(model, name=repo)
            upload(model, repo, message="Upload a SpeechCLIP model", private=private)

    def _write(self, directory: Path, *, name: str) -> None:
        as_stored = save_loaded(
            self._inference.model,
            self.source,
            directory,
            image_clip=self._image_clip,
            trust_remote_code=self.trust_remote_code,
        )
        write_model_card(directory, self.source, name=name, changed=not as_stored)

    def _clip_with_images(self) -> FrozenCLIP:
        if self._image_clip is None:
            trusted = self.trust_remote_code
            clip = load_clip(self.source, text_tower=False, trust_remote_code=trusted)
            self._image_clip = clip.to(self._inference.device)
        return self._image_clip

    def _branches_of(self, branch: Branch | None) -> tuple[str, ...]:
        wanted = branch or self.branches[0]
        if wanted not in ("parallel", "cascaded", "both"):
            raise ValueError(f"branch {wanted!r}: it is parallel, cascaded or both")
        names = ("parallel", "cascaded") if wanted == "both" else (wanted,)
        missing = [name for name in names if name not in self.branches]
        if missing:
            raise ValueError(
                f"{self.source}: the model has no {missing[0]} branch, only {self.branches[0]}"
            )
        return names


def _outputs(batch: list[np.ndarray], inference: SpeechCLIPInference) -> SpeechOutput:
    lengths = torch.tensor([len(samples) for samples in batch], device=inference.device)
    speech = pad_sequence([torch.as_tensor(samples) for samples in batch], batch_first=True)
    return inference.encode(speech=speech.to(inference.device), speech_lengths=lengths)


def _rate_of(item: Any, sampling_rate: int | None) -> int | None:
    return None if isinstance(item, str | Path) else sampling_rate
