"""A trained model: recordings, images and texts as rows of one space."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from espnet_plugin.data.words import SpokenWord, later, words_of
from espnet_plugin.inference.batches import batches_by_length
from espnet_plugin.inference.clip import embed_pixels, embed_texts, read_pixels
from espnet_plugin.inference.embeddings import embed_items, items_of
from espnet_plugin.inference.results import (
    UtteranceResult,
    frame_seconds,
    keyword_ends,
    utterance_results,
)
from espnet_plugin.media.speech_activity import WINDOW, NoSpeechError, speech_windows, spoken_parts
from espnet_plugin.media.utterance import (
    MAX_SECONDS,
    Utterance,
    read_utterance,
    utterance_name,
    utterance_seconds,
)
from espnet_plugin.model.model import SpeechCLIPModel
from espnet_plugin.model.output import SpeechOutput
from espnet_plugin.pretrained.choices import BRANCHES, Branch, Choices
from espnet_plugin.pretrained.publishing import MODULES, upload, write_model_card
from espnet_plugin.pretrained.storage import load_clip, load_with_stored, save_loaded
from espnet_plugin.teachers.clip import FrozenCLIP
from espnet_plugin.teachers.speech_batch import SpeechBatch, padded_batch
from espnet_plugin.teachers.speech_encoder import SpeechStates
from espnet_plugin.utils.device import torch_device
from espnet_plugin.utils.progress import progress
from espnet_plugin.utils.scratch import new_directory, scratch_folder

if TYPE_CHECKING:
    from PIL.Image import Image
    from typing_extensions import Self

PRECISIONS = ("float32", "float16", "bfloat16")
BATCH_SECONDS = 100.0
BATCH_IMAGES = 64


class SpeechCLIP:
    """Embeds recordings, images and texts in one space, and finds keywords in recordings.

    Example:
        >>> model = SpeechCLIP.from_pretrained("exp/speechclip_mini_hybrid_plus")
        >>> images = model.encode_image(["dog.jpg", "cat.jpg"])
        >>> model.similarity(model.encode_speech("query.wav"), images)
        >>> [(keyword.word, keyword.start, keyword.end) for keyword in model.keywords("query.wav")]

    Build it with :meth:`from_pretrained`.

    Args:
        model: The network, with its speech encoder.
        source: Model that it was loaded from; CLIP's towers come from it when they are needed.
        choices: Options that were selected on a development set, or None if there are none.
        spoken_languages: Languages of the speech that it was trained on, empty if unknown.
        device, dtype, max_seconds, trust_remote_code: See :meth:`from_pretrained`.

    Attributes:
        min_score: Lowest score of a sub-word that :meth:`keywords` reports. You may set it; what
            you set is not saved with the model.
        fusion_weight: Share of the parallel branch in :meth:`fuse`, or None if none was chosen,
            so that both branches count the same.
        branch: What embeds recordings unless you name another branch: ``parallel``, ``cascaded`` or
            ``both``. None if nothing was chosen: then the first of :attr:`branches` does.
        spoken_languages: Languages of the speech that it was trained on, as its corpus names them,
            empty if unknown. The keywords are English in any case, see
            :func:`espnet_plugin.data.english.translation_note`.

    Raises:
        ValueError: If the model lacks a speech encoder or the chosen branch, or an option is wrong.
    """

    def __init__(
        self,
        model: SpeechCLIPModel,
        *,
        source: str | Path,
        choices: Choices | None = None,
        spoken_languages: Sequence[str] = (),
        device: str | torch.device | None = None,
        dtype: str = "float32",
        max_seconds: float = MAX_SECONDS,
        trust_remote_code: bool = False,
    ) -> None:
        if model.speech_encoder is None:
            raise ValueError("the model has no speech encoder")
        if dtype not in PRECISIONS:
            raise ValueError(f"dtype {dtype!r}: choose from {', '.join(PRECISIONS)}")
        self.device = torch_device(device)
        self.dtype = dtype
        self.source = source
        choices = choices or Choices()
        self.min_score = choices.min_score
        self.fusion_weight = choices.fusion_weight
        self.branch = choices.branch
        self.spoken_languages = tuple(spoken_languages)
        self.max_seconds = max_seconds
        self.trust_remote_code = trust_remote_code
        self._model = model.to(self.device).eval()
        self._branches_of(None)  # refuses a choice that the model cannot make
        self._image_clip: FrozenCLIP | None = None
        self._early_end_is_said = False

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        device: str | torch.device | None = None,
        dtype: str = "float32",
        max_seconds: float = MAX_SECONDS,
        trust_remote_code: bool = False,
    ) -> Self:
        """Loads a trained model; CLIP's towers follow when they are needed.

        Args:
            name_or_path: A model's folder, an experiment, one of its checkpoints, or the name of a
                released model or of a repository on the Hugging Face hub.
            device: Torch device, by default a GPU if there is one.
            dtype: Type to compute in: ``float32``; or ``float16`` or ``bfloat16``, which leave the
                weights as they are and use PyTorch's autocast, as training does.
            max_seconds: Number of seconds after which a longer recording is cut, with a warning
                that names it. HuBERT base needs about 1 GB of memory for each minute. The cascaded
                embedding can end earlier, see :attr:`keyword_seconds`. :meth:`keywords` hears all
                of a recording.
            trust_remote_code: Whether you trust the model's author, whose code it may then run.

        Raises:
            FileNotFoundError: If there is no such file, directory or name.
            UntrustedModelError: If it names what may run code, and is not trusted.
            ValueError: If it holds no model, or an option is wrong.
        """
        trusted = {"trust_remote_code": trust_remote_code}
        model, stored = load_with_stored(
            name_or_path, image_tower=False, text_tower=False, **trusted
        )
        loaded = cls.__new__(cls)  # a subclass has ESPnet's constructor
        SpeechCLIP.__init__(
            loaded,
            model,
            source=name_or_path,
            choices=stored.choices,
            spoken_languages=stored.spoken_languages,
            device=device,
            dtype=dtype,
            max_seconds=max_seconds,
            **trusted,
        )
        return loaded

    @property
    def model(self) -> SpeechCLIPModel:
        """The network, with CLIP's text tower."""
        self._load_text_tower()
        return self._model

    def _load_text_tower(self) -> None:
        """Loads CLIP's text tower; from then on, every pass embeds its keywords."""
        if self._model.clip.text_tower is None:
            trusted = self.trust_remote_code
            clip = load_clip(self.source, image_tower=False, trust_remote_code=trusted)
            self._model.clip = clip.to(self.device)

    @property
    def branches(self) -> tuple[str, ...]:
        """Branches of the model, first the one that embeds recordings if none was chosen."""
        has = {
            "parallel": self._model.parallel_projection is not None,
            "cascaded": self._model.keyword_branch is not None,
        }
        return tuple(name for name in has if has[name])

    @property
    def embedding_dim(self) -> int:
        """Length of a row."""
        return self._model.clip.embedding_dim

    @property
    def sampling_rate(self) -> int:
        """Sampling rate in Hz that the model takes; other recordings are resampled."""
        return self._model.speech_encoder.sampling_rate

    @property
    def frame_seconds(self) -> float:
        """Seconds from one frame to the next."""
        return frame_seconds(self._model)

    @property
    def keyword_seconds(self) -> float | None:
        """About how many seconds of speech the keywords cover at once, or None if they cover all.

        The model keeps ``max_keywords`` segments, each about ``frames_per_keyword`` frames long. A
        warning names the first recording with more; ``max_seconds`` does not change this. The
        parallel branch covers all, and :meth:`keywords` cuts long recordings into windows.
        """
        branch = self._model.keyword_branch
        reach = None if branch is None else getattr(branch.extractor, "reach", None)
        return None if reach is None else reach * self.frame_seconds

    @property
    def window_seconds(self) -> float:
        """Longest part of a recording that :meth:`keywords` takes at once, at most 10 s."""
        return min(WINDOW, self.keyword_seconds or WINDOW)

    def windows(self, samples: np.ndarray) -> list[tuple[int, int]]:
        """First and last sample of each part that :meth:`keywords` takes of a recording.

        These are its parts with speech, cut between words to :attr:`window_seconds`.

        Args:
            samples: Floating-point samples in [-1, 1] at :attr:`sampling_rate`, (samples,).

        Raises:
            NoSpeechError: If the recording is silent, white noise, or too short for a word.
        """
        return speech_windows(samples, self.sampling_rate, longest=self.window_seconds)

    def warn_of_early_end(self, name: str, end: float | None, *, start: float = 0.0) -> None:
        """Warns if the keywords of an utterance end before its speech does, but only once.

        Args:
            name: Name that the warning gives the utterance.
            end: Second that :func:`~espnet_plugin.inference.results.keyword_ends` gave.
            start: Second of the recording at which the utterance begins, if it is a part of one.
        """
        if end is not None and not self._early_end_is_said:
            self._early_end_is_said = True
            logging.warning(
                f"{name}: more than {self._model.keyword_branch.extractor.max_keywords} segments, "
                f"so its keywords end at {start + end:.1f} s. The cascaded branch leaves out the "
                "speech after that, up to the next window of a long recording; the parallel branch "
                "has it. Cut it into shorter parts. This warning is given once"
            )

    def to(self, device: str | torch.device) -> SpeechCLIP:
        """Moves the model to a device, and returns it."""
        self.device = torch_device(device)
        self._model.to(self.device)
        if self._image_clip is not None:
            self._image_clip.to(self.device)
        return self

    def __call__(
        self, speech: Utterance, *, sampling_rate: int | None = None, start: float = 0.0
    ) -> UtteranceResult:
        """Computes both embeddings of a recording, its keywords, and CIF's weights.

        Args:
            speech: One recording, in any form that :meth:`encode_speech` takes.
            sampling_rate: Rate of samples in Hz, by default the model's. A file states its own.
            start: Second at which it begins in a longer recording, for the warnings.

        Raises:
            DataError: If a file cannot be used.
            TypeError: If ``speech`` is something else.
            ValueError: If there are no samples, or they are not mono or not finite.
        """
        self._load_text_tower()
        samples = self._read(speech, sampling_rate)
        return self._result(samples, name=utterance_name(speech), start=start)

    def encode(self, batch: SpeechBatch) -> SpeechOutput:
        """Embeds a padded batch of waveforms or of stored hidden states."""
        self._load_text_tower()
        return self._encode(batch)

    def encode_speech(
        self,
        speech: Utterance | Iterable[Utterance],
        *,
        sampling_rate: int | None = None,
        branch: Branch | None = None,
        trim: bool = True,
        skipped: dict[int, str] | None = None,
    ) -> np.ndarray:
        """Embeds recordings, from the first sound of speech to the last.

        They run in batches of similar length, the longest first: up to 100 seconds together, or
        one longer recording.

        Args:
            speech: A recording in any form of :mod:`espnet_plugin.media.utterance` (a path,
                bytes of a file, samples, what datasets' ``Audio`` gives), or many.
            sampling_rate: Rate of samples in Hz, by default the model's. Other forms state theirs.
            branch: ``parallel`` (from the whole utterance), ``cascaded`` (from its keywords), or
                ``both`` (see :meth:`fuse`). By default the one selected on dev, see
                :attr:`branch`.
            trim: Whether to cut off the silence at both ends; pauses inside stay.
            skipped: Dictionary for recordings that cannot be used: it gets position and reason of
                each, and a warning names it. Without it, the first such recording raises an error.

        Returns:
            A row of unit length for each recording that is not skipped, float32, (recordings, dim).

        Raises:
            DataError: If a recording cannot be used; it is named. With ``trim`` it is a
                :class:`~espnet_plugin.media.speech_activity.NoSpeechError` if all is silence.
            ValueError: If the model has no such branch.
        """
        names = self._branches_of(branch)
        items = items_of(speech)
        if "cascaded" in names:
            self._load_text_tower()

        def read(item: Utterance) -> tuple[str, np.ndarray]:
            name, samples = utterance_name(item), self._read(item, sampling_rate)
            if trim:
                try:
                    parts = spoken_parts(samples, self.sampling_rate)
                except NoSpeechError as error:
                    raise NoSpeechError(f"{name}: {error}") from error
                samples = samples[parts[0][0] : parts[-1][1]]
            return name, samples

        def encode(batch: list[tuple[str, np.ndarray]]) -> np.ndarray:
            output = self._encode(padded_batch([samples for _, samples in batch]))
            if "cascaded" in names:
                for (name, _), end in zip(batch, keyword_ends(self._model, output), strict=True):
                    self.warn_of_early_end(name, end)
            rows = [getattr(output, name).float().cpu().numpy() for name in names]
            return rows[0] if len(rows) == 1 else self.fuse(*rows)

        seconds = dict(enumerate(utterance_seconds(item, sampling_rate) for item in items))
        return embed_items(
            items,
            batches=batches_by_length(seconds, BATCH_SECONDS),
            read=read,
            encode=encode,
            dim=self.embedding_dim,
            skipped=skipped,
            what="recordings",
        )

    def encode_image(
        self,
        images: str | Path | Image | np.ndarray | Iterable[str | Path | Image | np.ndarray],
        *,
        skipped: dict[int, str] | None = None,
    ) -> np.ndarray:
        """Embeds images with CLIP's image tower, which is loaded for the first ones.

        Args:
            images: An image, see :func:`espnet_plugin.media.images.read_image`, or many.
            skipped: Dictionary for images that cannot be used, as in :meth:`encode_speech`.

        Returns:
            A row of unit length for each image that is not skipped, float32, (images, dim).

        Raises:
            DataError: If an image cannot be used; it is named.
        """
        clip = self._clip_with_images()
        items = items_of(images)
        positions = range(len(items))
        starts = positions[::BATCH_IMAGES]
        return embed_items(
            items,
            batches=[positions[start : start + BATCH_IMAGES] for start in starts],
            read=partial(read_pixels, clip.preprocess),
            encode=partial(embed_pixels, clip),
            dim=self.embedding_dim,
            skipped=skipped,
            what="images",
        )

    def encode_text(self, texts: str | Iterable[str]) -> np.ndarray:
        """Embeds texts with CLIP's text tower, which cuts long ones.

        Args:
            texts: A text, or many.

        Returns:
            A row of unit length for each text, float32, (texts, dim).
        """
        items = items_of(texts)
        wrong = next((item for item in items if not isinstance(item, str)), None)
        if wrong is not None:
            raise TypeError(f"a text of type {type(wrong).__name__}: give strings")
        if not items:
            return np.zeros((0, self.embedding_dim), np.float32)
        return embed_texts(self.model.clip, items, description="texts")

    def keywords(self, speech: Utterance, *, sampling_rate: int | None = None) -> list[SpokenWord]:
        """Words that the model finds in a recording, in their order.

        The model takes a recording in :meth:`windows`, however long it is, as an index does. There
        are no words in silence, in white noise, and in less than 0.2 s of speech. Times are those
        of the whole recording.

        Sub-words with a lower score than :attr:`min_score` are left out before the others are
        joined to words, see :mod:`espnet_plugin.data.words`.

        Args:
            speech: One recording, in any form that :meth:`encode_speech` takes.
            sampling_rate: Sampling rate of samples in Hz, by default the model's.

        Raises:
            DataError: If the recording cannot be used.
            ValueError: If the model extracts no keywords.
        """
        if "cascaded" not in self.branches:
            raise ValueError(f"{self.source}: this architecture (parallel) has no keywords")
        samples = self._read(speech, sampling_rate, max_seconds=math.inf)
        try:
            places = self.windows(samples)
        except NoSpeechError:
            return []
        words = []
        for first, last in progress(places, description="speech", unit="window"):
            start = first / self.sampling_rate
            result = self._result(samples[first:last], name=utterance_name(speech), start=start)
            words += later(self.words(result), seconds=start)
        return words

    def words(self, result: UtteranceResult) -> list[SpokenWord]:
        """The keywords of a result as :meth:`keywords` has them; none without that branch."""
        return words_of(result.keywords or (), self._model.clip.text_of, min_score=self.min_score)

    def fuse(self, parallel: np.ndarray, cascaded: np.ndarray) -> np.ndarray:
        """Joins the rows of both branches to one row each, of unit length, (..., dim).

        As a query, a row ranks like the weighted sum of both similarities. As an item of a search
        it need not, because its unit length divides the sum by the length of the weighted rows.
        The weight is the one that was best on the development set; without one, both count the
        same.
        """
        weight = 0.5 if self.fusion_weight is None else self.fusion_weight
        rows = weight * parallel + (1 - weight) * cascaded
        return rows / np.linalg.norm(rows, axis=-1, keepdims=True)

    def row(self, result: UtteranceResult) -> np.ndarray:
        """The row that :meth:`encode_speech` has without ``trim``, (dim,), from a result."""
        rows = [getattr(result, name) for name in self._branches_of(None)]
        return rows[0] if len(rows) == 1 else self.fuse(*rows)

    @staticmethod
    def similarity(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Cosine similarity of each embedding with each of others, (rows, columns)."""
        return np.asarray(rows) @ np.asarray(columns).T

    def save_pretrained(self, directory: str | Path, *, force: bool = False) -> None:
        """Writes the model as it is in memory, as a directory that loads by itself, with a card.

        Trained weights that you changed are saved as they are now; the card then shows no results.
        The frozen models and the configuration are copied from the source.

        Args:
            directory: Directory to write, which appears when it is complete.
            force: Whether to replace a directory that is not empty.

        Raises:
            FileExistsError: If the directory is not empty.
            FileNotFoundError: If the source is gone.
            ValueError: If a frozen weight changed in memory; the message names it.
        """
        with new_directory(directory, force=force) as target:
            self._write(target, name=Path(directory).name)

    def push_to_hub(self, repo: str, *, private: bool = False) -> None:
        """Publishes the model, in one commit, for ``from_pretrained(repo)``.

        Args:
            repo: Name ``owner/model`` on the Hugging Face hub, which is made if it is not there.
            private: Whether a new repository is private.

        Raises:
            OSError: If the hub cannot be reached, or nobody is logged in.
            ValueError: If a frozen weight changed in memory; the message names it.
        """
        with scratch_folder() as folder:
            model = folder / "model"
            self._write(model, name=repo)
            upload(model, repo, private=private)

    def _write(self, directory: Path, *, name: str) -> None:
        as_stored = save_loaded(
            self._model,
            self.source,
            directory,
            image_clip=self._image_clip,
            trust_remote_code=self.trust_remote_code,
        )
        for file in MODULES:
            shutil.copyfile(Path(__file__).with_name(file), directory / file)
        write_model_card(directory, self.source, name=name, changed=not as_stored)

    def _clip_with_images(self) -> FrozenCLIP:
        if self._image_clip is None:
            trusted = self.trust_remote_code
            clip = load_clip(self.source, text_tower=False, trust_remote_code=trusted)
            self._image_clip = clip.to(self.device)
        return self._image_clip

    def _branches_of(self, branch: Branch | None) -> tuple[str, ...]:
        wanted = branch or self.branch or self.branches[0]
        if wanted not in BRANCHES:
            raise ValueError(f"branch {wanted!r}: choose from parallel, cascaded and both")
        names = ("parallel", "cascaded") if wanted == "both" else (wanted,)
        missing = [name for name in names if name not in self.branches]
        if missing:
            raise ValueError(
                f"{self.source}: the model has no branch {missing[0]}, only {self.branches[0]}"
            )
        return names

    def _read(
        self, speech: Utterance, sampling_rate: int | None, *, max_seconds: float | None = None
    ) -> np.ndarray:
        return read_utterance(
            speech,
            sampling_rate=sampling_rate,
            wanted_rate=self.sampling_rate,
            max_seconds=self.max_seconds if max_seconds is None else max_seconds,
        )

    def _result(self, samples: np.ndarray, *, name: str, start: float) -> UtteranceResult:
        output = self._encode(padded_batch([samples]))
        (result,) = utterance_results(self._model, output, [samples])
        self.warn_of_early_end(name, result.keywords_end, start=start)
        return result

    @torch.no_grad()
    def _encode(self, batch: SpeechBatch) -> SpeechOutput:
        device, half = torch.device(self.device).type, self.dtype != "float32"
        with torch.autocast(device, getattr(torch, self.dtype), enabled=half):
            states = self._model.speech_encoder.hidden_states(batch.to(self.device))
            return self._model(SpeechStates(states.hidden_states.float(), states.lengths))
