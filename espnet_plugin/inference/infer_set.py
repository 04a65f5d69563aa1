"""Inference over one set, sorted by length."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from espnet_plugin.data.datadir import RECORDINGS
from espnet_plugin.data.dataset import SpeechCLIPDataset
from espnet_plugin.data.image_embedding import read_embedding
from espnet_plugin.data.keyword_file import UtteranceKeywords
from espnet_plugin.data.sampler_files import read_lengths
from espnet_plugin.data.scp import part_of, read_scp
from espnet_plugin.data.set_outputs import SetOutputs
from espnet_plugin.inference.batches import batches_by_length, encode_batches
from espnet_plugin.inference.clip import embed_texts
from espnet_plugin.inference.results import UtteranceResult, utterance_results
from espnet_plugin.inference.speechclip import SpeechCLIP
from espnet_plugin.media.audio import checked_speech
from espnet_plugin.media.utterance import MAX_SECONDS, is_too_long
from espnet_plugin.teachers.clip import FrozenCLIP
from espnet_plugin.teachers.speech_batch import padded_batch
from espnet_plugin.utils.constants import SAMPLING_RATE
from espnet_plugin.utils.errors import DataError
from espnet_plugin.utils.progress import counted

SMALLER = (
    "give a smaller batch_seconds (--batch_seconds), or max_seconds (--max_seconds) for one "
    "recording"
)


def _prepared(
    utterance: str, data: dict[str, np.ndarray], *, max_seconds: float
) -> dict[str, np.ndarray]:
    """Checks the speech of an utterance, and cuts what is too long."""
    samples = checked_speech(data["speech"])
    if is_too_long(utterance, len(samples) / SAMPLING_RATE, max_seconds):
        samples = samples[: int(max_seconds * SAMPLING_RATE)]
    return {**data, "speech": samples}


def infer_set(
    model: SpeechCLIP,
    data: Sequence[tuple[str, str, str]],
    *,
    keys: Sequence[str],
    captions: Mapping[str, str] | None = None,
    utt2image: Mapping[str, str] | None = None,
    image_scp: Mapping[str, str] | None = None,
    shape_file: str | None = None,
    batch_size: int = 16,
    batch_seconds: float = 160.0,
    max_seconds: float = MAX_SECONDS,
    num_workers: int = 1,
) -> SetOutputs:
    """Embeds utterances, their captions and their images.

    Args:
        model: The model that embeds them.
        data: File, name and type of each part, as ESPnet's commands take them, with ``speech``. An
            ``utt2recordings`` beside the list of the speech goes into the outputs.
        keys: Ids of the utterances.
        captions: Caption of each utterance, for CLIP's embeddings of them and caption ids.
        utt2image: Image id of each utterance.
        image_scp: Embedding file of each image id.
        shape_file: Path of ``utt2num_samples``, to sort by length, which saves padding.
        batch_size: Largest number of utterances in a batch.
        batch_seconds: Largest number of seconds in a batch, with padding; a longer utterance is a
            batch of its own. It needs ``shape_file``.
        max_seconds: Number of seconds after which longer speech is cut, with a warning that names
            it. Keywords can end earlier, see :attr:`SpeechCLIP.keyword_seconds`.
        num_workers: Number of processes that read files.

    Raises:
        DataError: If an id or a file is missing.
        MemoryError: If a batch does not fit into memory; its utterances are named.
    """
    prepare = partial(_prepared, max_seconds=max_seconds)
    dataset = SpeechCLIPDataset(list(data), preprocess=prepare)
    batches = [keys[start : start + batch_size] for start in range(0, len(keys), batch_size)]
    if shape_file is not None:
        most = int(max_seconds * SAMPLING_RATE)
        batches = batches_by_length(
            {key: min(samples, most) for key, samples in read_lengths([shape_file], keys).items()},
            batch_seconds * SAMPLING_RATE,
            batch_size=batch_size,
        )
    layer_weights = model.model.layer_weighting.weights.detach().softmax(dim=0)
    outputs = SetOutputs(
        layer_weights=layer_weights.float().cpu().numpy(), frame_seconds=model.frame_seconds
    )

    def encode(items: list[dict[str, np.ndarray]]) -> Iterable[tuple[int, UtteranceResult]]:
        speech = [item["speech"] for item in items]
        results = utterance_results(model.model, model.encode(padded_batch(speech)), speech)
        return zip(map(len, speech), results, strict=True)

    for batch in encode_batches(
        dataset,
        batches,
        encode,
        unreadable={},  # the first one raises an error
        num_workers=num_workers,
        description="inference",
        remedy=SMALLER,
    ):
        for utterance, (samples, result) in batch.items():
            model.warn_of_early_end(utterance, result.keywords_end)
            _add_result(outputs, utterance, result, seconds=samples / SAMPLING_RATE)
    listed = Path({name: path for path, name, _ in data}["speech"]).with_name(RECORDINGS)
    made_of = read_scp(listed) if listed.exists() else {}
    outputs.recordings = {key: made_of[key] for key in outputs.arrays if key in made_of}
    if captions is not None:
        _add_captions(model.model.clip, outputs, captions)
    if utt2image is not None:
        _add_images(outputs, utt2image, image_scp)
    return outputs


def _add_result(
    outputs: SetOutputs, utterance: str, result: UtteranceResult, *, seconds: float
) -> None:
    found = {"parallel": result.parallel, "cascaded": result.cascaded}
    outputs.arrays[utterance] = {n: row for n, row in found.items() if row is not None}
    if result.keywords is not None:
        outputs.keywords[utterance] = UtteranceKeywords(
            utterance,
            caption=None,
            caption_ids=None,
            keywords=result.keywords,
            seconds=seconds,
            alphas=None if result.alphas is None else tuple(result.alphas.tolist()),
            fired=result.fired or (),
        )


def _add_captions(clip: FrozenCLIP, outputs: SetOutputs, captions: Mapping[str, str]) -> None:
    """Adds CLIP's own embeddings of captions, and the captions to the keywords."""
    utterances = list(outputs.arrays)
    missing = next((u for u in utterances if u not in captions), None)
    if missing is not None:
        raise DataError(f"no caption of utterance {missing}; it needs a line in the text file")
    texts = [captions[utterance] for utterance in utterances]
    embeddings = embed_texts(clip, texts, description="captions")
    for utterance, embedding, ids in zip(utterances, embeddings, clip.tokenize(texts), strict=True):
        outputs.arrays[utterance]["text"] = embedding
        if utterance in outputs.keywords:
            outputs.keywords[utterance] = replace(
                outputs.keywords[utterance], caption=captions[utterance], caption_ids=tuple(ids)
            )


def _add_images(
    outputs: SetOutputs, utt2image: Mapping[str, str], image_scp: Mapping[str, str] | None
) -> None:
    for utterance in outputs.arrays:
        if utterance not in utt2image:
            raise DataError(f"no image of utterance {utterance}; it needs a line in utt2image")
        outputs.utt2image[utterance] = utt2image[utterance]
    if image_scp is None:
        return
    for image in dict.fromkeys(outputs.utt2image.values()):
        if image not in image_scp:
            raise DataError(
                f"no embedding of image {image} in the image list; run stage 4 again, which also "
                "lists unreadable images"
            )
        outputs.images[image] = read_embedding(image_scp[image])


def selected_keys(data: Iterable[tuple[str, str, str]], part: tuple[int, int] | None) -> list[str]:
    """Ids of the utterances in a part of the speech list, or in all of it.

    Raises:
        DataError: If there are no utterances, or one is listed twice.
    """
    speech = next((path for path, name, _ in data if name == "speech"), None)
    if speech is None:
        raise DataError("no speech given: wav.scp,speech,sound")
    keys = list(part_of(read_scp(speech), part))
    if not keys:
        raise DataError(f"{speech} lists no utterance")
    logging.info(f"{counted(len(keys), 'utterance')} of {speech}")
    return keys
