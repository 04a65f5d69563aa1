"""The corpus: scenes, images, captions and speech, and its Kaldi-style data directories."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from local.shared import spoken_captions
from local.shared.randomness import random_stream
from local.shared.sets import tables_of, write_set
from local.shared.speech_synthesis import VoicedCaption
from local.shared.spoken_captions import SPLITS
from PIL import Image

from espnet_plugin.data.datadir import MEANINGS_CTM, WORDS_CTM
from espnet_plugin.evaluation.alignments import ctm_text
from espnet_plugin.utils.atomic import atomic_path, write_text
from espnet_plugin.utils.progress import progress

from .config import MiniConfig
from .images import Painter
from .languages import english_of, tell
from .scenes import Scene, draw_splits


def split_voices(config: MiniConfig) -> tuple[list[str], list[str]]:
    """Return the voices of the training set, and the others; only the seed decides."""
    voices = config.world.voices
    order = [voices[n] for n in random_stream(config.seed, "voices").permutation(len(voices))]
    count = config.corpus.unseen_voices
    return sorted(order[count:]), sorted(order[:count])


def draw_corpus(
    config: MiniConfig,
) -> tuple[dict[str, dict[str, Scene]], dict[str, list[VoicedCaption]]]:
    """Draw the scenes by split and image id, and every spoken caption by split.

    In dev and test every second utterance is by a voice that training never hears.
    """
    corpus, world = config.corpus, config.world
    sizes = {split: getattr(corpus, f"{split}_images") for split in SPLITS}
    seen_voices, unseen_voices = split_voices(config)
    drawn = draw_splits(
        random_stream(config.seed, "scenes"), world, sizes, two_objects=corpus.two_objects
    )
    scenes: dict[str, dict[str, Scene]] = {}
    captions: dict[str, list[VoicedCaption]] = {}
    for split in SPLITS:
        words = random_stream(config.seed, f"{split} captions")
        speech = random_stream(config.seed, f"{split} speech")
        scenes[split] = {f"{split}_{n:05d}": scene for n, scene in enumerate(drawn[split])}
        others = {name: random_stream(config.seed, f"{split} {name}") for name in world.languages}
        captions[split] = []
        for image_id, scene in scenes[split].items():
            for n, told in enumerate(tell(words, others, world, scene)):
                unseen = split != "train" and len(captions[split]) % 2 == 1
                voices = unseen_voices if unseen else seen_voices
                if told.language in world.languages:
                    voices = [f"{told.language}+{voice.partition('+')[2]}" for voice in voices]
                name = "_".join(filter(None, (image_id, told.language, str(n % world.captions))))
                speak = _draw_speaker(config, speech, voices)
                said = speak(name, image_id, told.text, language=told.language)
                captions[split].append(dataclasses.replace(said, english=told.english))
    return scenes, captions


def _draw_speaker(
    config: MiniConfig, speech: np.random.Generator, voices: list[str]
) -> Callable[[str, str, str], VoicedCaption]:
    """Draw who speaks and how; returns what makes a spoken caption of ids and text."""
    corpus = config.corpus
    return partial(
        VoicedCaption,
        voice=voices[speech.integers(len(voices))],
        words_per_minute=int(speech.integers(*corpus.words_per_minute, endpoint=True)),
        pitch=int(speech.integers(*corpus.pitch, endpoint=True)),
        pitch_range=int(speech.integers(*corpus.pitch_range, endpoint=True)),
    )


def paint_corpus(config: MiniConfig, scenes: dict[str, dict[str, Scene]], root: Path) -> None:
    """Write ``images/<image_id>.png`` for every scene."""
    directory = root / "images"
    directory.mkdir(parents=True, exist_ok=True)
    painter = Painter(config.world, image_size=config.corpus.image_size)
    rng = random_stream(config.seed, "pictures")
    everything = [pair for split in SPLITS for pair in scenes[split].items()]
    for image_id, scene in progress(everything, description="images", unit="image"):
        image = painter.paint(scene, rng)  # even if the file exists, to keep the jitter
        path = directory / f"{image_id}.png"
        if not path.exists():
            with atomic_path(path) as temporary:
                Image.fromarray(image).save(temporary, format="PNG", compress_level=1)


def write_lists(
    config: MiniConfig,
    scenes: dict[str, dict[str, Scene]],
    captions: dict[str, list[VoicedCaption]],
    words: dict[str, list[tuple[str, float, float]]],
    *,
    root: Path,
    data_dir: Path,
    name: str,
) -> None:
    """Write ``captions.tsv``, ``words.ctm`` and ``data_dir/<name>_<set>`` for every set.

    A world of several languages gets ``meanings.ctm``, too: the times of English words' meanings.
    """
    columns = 6 if config.world.languages else 4
    header = ("utterance", "image", "voice", "caption", "language", "english")
    fields = ("utterance_id", "image_id", "voice", "text", "language", "english")[:columns]
    rows = ["\t".join(header[:columns])]
    for members in captions.values():
        rows += ["\t".join(getattr(c, field) for field in fields) for c in members]
    write_text(root / "captions.tsv", "\n".join(rows) + "\n")
    alignments = {WORDS_CTM: words}
    if config.world.languages:
        alignments[MEANINGS_CTM] = meanings(config, captions, words)
    for file, spans in alignments.items():
        write_text(root / file, ctm_text(sorted(spans), spans))
    sets = dict(captions)
    for part, members in captions.items():
        for language in sorted({c.language for c in members} - {""}):
            sets[f"{part}_{language}"] = [c for c in members if c.language == language]
    for part, members in sets.items():
        directory = data_dir / f"{name}_{part}"
        write_set(directory, tables_of(_as_on_disk(c, part, root) for c in members))
        ids = sorted(caption.utterance_id for caption in members)
        for file, spans in alignments.items():
            write_text(directory / file, ctm_text(ids, spans))


def meanings(
    config: MiniConfig,
    captions: dict[str, list[VoicedCaption]],
    words: dict[str, list[tuple[str, float, float]]],
) -> dict[str, list[tuple[str, float, float]]]:
    """Return the English words that spoken words mean, with these words' times, by utterance.

    Words without an English content word are left out; English words mean themselves.
    """
    lexicons = {name: english_of(language) for name, language in config.world.languages.items()}
    found = {}
    for caption in (c for members in captions.values() for c in members):
        spoken, lexicon = words[caption.utterance_id], lexicons.get(caption.language)
        if lexicon is not None:
            spoken = [(lexicon[w], start, end) for w, start, end in spoken if w in lexicon]
        found[caption.utterance_id] = spoken
    return found


def _as_on_disk(caption: VoicedCaption, split: str, root: Path) -> spoken_captions.SpokenCaption:
    return spoken_captions.SpokenCaption(
        split=split,
        utterance=caption.utterance_id,
        image=caption.image_id,
        recording=str(root / "wavs" / f"{caption.utterance_id}.wav"),
        image_file=str(root / "images" / f"{caption.image_id}.png"),
        speaker=caption.voice.replace("+", "_"),
        caption=caption.english or caption.text,
        language=caption.language,
    )
