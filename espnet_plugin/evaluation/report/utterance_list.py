"""All utterances of a set for the page's search; their media are in a folder beside the page."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from espnet_plugin.data.inference_set import InferenceSet
from espnet_plugin.evaluation.figures.colours import keyword_kind
from espnet_plugin.evaluation.queries import Query, search
from espnet_plugin.evaluation.report.material import Material
from espnet_plugin.evaluation.report.media import (
    encode_image,
    encode_recording,
    remove_unused,
    write_media,
)
from espnet_plugin.evaluation.report.tables import short_name
from espnet_plugin.evaluation.scores.retrieval import Ranks
from espnet_plugin.evaluation.token_texts import END_OF_WORD

MAX_UTTERANCES = 25_000  # about 5 MB of the page
MAX_RECORDINGS = 2_000  # for 4 seconds each: 32 MB, 45 s of one processor
MAX_IMAGES = 5_000


def utterance_list(data: InferenceSet, ranks: Ranks, material: Material, folder: Path) -> dict:
    """Lists a set's utterances with the images they found and their keywords.

    Large sets are thinned evenly: first the players, then the images, then the list.

    Args:
        data: The set; one with speech.
        ranks: What ``rank_set`` returned for it.
        material: Its recordings, images and texts.
        folder: Folder beside the page for recordings and images.

    Returns:
        ``folder``: its name. ``systems``: names of the systems with ranks. ``images``: [id,
        caption, file] of each image. ``keywords``: [text, kind] of each that occurs. ``rows``: one
        for each utterance, [id, caption, transcript, recording, ranks, place of the right image,
        its cosine, places of the images found, their cosines, places of the keywords]. A missing
        value is 0, cosines are in hundredths. ``utterances``: their number in the set;
        ``players``: number of rows with a recording.
    """
    rows = _thinned(range(len(data.utterances)), MAX_UTTERANCES)
    heard = [data.utterances[row] for row in rows if data.utterances[row] in material.audio]
    heard = _thinned(heard, MAX_RECORDINGS)
    recordings = write_media((material.audio[u] for u in heard), folder, encode_recording)
    files = [material.images[image] for image in data.images if image in material.images]
    thumbnails = write_media(_thinned(files, MAX_IMAGES), folder, encode_image)
    remove_unused(folder, [*recordings.values(), *thumbnails.values()])
    logging.info(f"{folder}: {len(recordings)} recordings, {len(thumbnails)} images")

    playable = {u: recordings.get(material.audio[u], 0) for u in heard}
    place_of = {image: place for place, image in enumerate(data.images)}
    vocabulary: dict[tuple[str, str], int] = {}

    def row(query: Query) -> list:
        spoken = material.keywords.get(query.utterance)
        keywords = [
            vocabulary.setdefault(
                (
                    keyword.token.removesuffix(END_OF_WORD),
                    keyword_kind(keyword.token_id, keyword.token, spoken.caption_ids),
                ),
                len(vocabulary),
            )
            for keyword in (spoken.keywords if spoken else ())
        ]
        return [
            query.utterance,
            material.captions.get(query.utterance, 0),
            material.transcripts.get(query.utterance, 0),
            playable.get(query.utterance, 0),
            list(query.ranks.values()),
            place_of[query.right.image],
            round(100 * query.right.score),
            [place_of[found.image] for found in query.found],
            [round(100 * found.score) for found in query.found],
            keywords,
        ]

    listed = [row(query) for query in search(data, ranks, rows)]
    return {
        "folder": folder.name,
        "systems": [short_name(name) for name in ranks if "speech_to_image" in ranks[name]],
        "images": [
            [
                image,
                material.described.get(image, image),
                thumbnails.get(material.images.get(image, ""), 0),
            ]
            for image in data.images
        ],
        "keywords": [list(entry) for entry in vocabulary],
        "rows": listed,
        "utterances": len(data.utterances),
        "players": sum(1 for entry in listed if entry[3]),
    }


def _thinned(items: Sequence, number: int) -> Sequence:
    """At most ``number`` items, at even distances."""
    if len(items) <= number:
        return items
    return [items[place * len(items) // number] for place in range(number)]
