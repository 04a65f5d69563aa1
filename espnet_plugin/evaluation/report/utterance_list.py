"""All utterances of a set, as the page's search reads them; their media lie beside the page."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from espnet_plugin.data.inference_set import InferenceSet
from espnet_plugin.evaluation.figures.colours import keyword_kind
from espnet_plugin.evaluation.queries import Query, search
from espnet_plugin.evaluation.report.material import Material
from espnet_plugin.evaluation.report.media import (
    encode_picture,
    encode_recording,
    remove_unused,
    write_media,
)
from espnet_plugin.evaluation.report.tables import short_name
from espnet_plugin.evaluation.scores.retrieval import Ranks
from espnet_plugin.evaluation.token_texts import END_OF_WORD

MAX_UTTERANCES = 25_000  # about 5 MB of the page
MAX_RECORDINGS = 2_000  # for 4 seconds each: 32 MB, 45 s of one processor
MAX_PICTURES = 5_000


def utterance_list(data: InferenceSet, ranks: Ranks, material: Material, folder: Path) -> dict:
    """Lists a set's utterances, what they found and what was heard in them.

    Large sets are thinned out evenly: first their players, then their pictures, then the list.

    Args:
        data: The set; one with speech.
        ranks: What ``rank_set`` returned for it.
        material: Its recordings, pictures and texts.
        folder: Beside the page; recordings and pictures are written to it.

    Returns:
        ``folder``: its name. ``systems``: names of those whose ranks are told. ``pictures``: [id,
        caption, file] of each. ``keywords``: [text, kind] of each that occurs. ``rows``: one per
        utterance, [id, caption, transcript, recording, ranks, place of the right picture, its
        cosine, places of the pictures found, their cosines, places of the keywords]; 0 stands for
        what there is not, cosines are in hundredths. ``utterances``: how many the set has;
        ``players``: how many of the rows can be heard.
    """
    rows = _thinned(range(len(data.utterances)), MAX_UTTERANCES)
    heard = [data.utterances[row] for row in rows if data.utterances[row] in material.audio]
    heard = _thinned(heard, MAX_RECORDINGS)
    recordings = write_media((material.audio[u] for u in heard), folder, encode_recording)
    files = [material.pictures[image] for image in data.images if image in material.pictures]
    thumbnails = write_media(_thinned(files, MAX_PICTURES), folder, encode_picture)
    remove_unused(folder, [*recordings.values(), *thumbnails.values()])
    logging.info(f"{folder}: {len(recordings)} recordings, {len(thumbnails)} pictures")

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
        "pictures": [
            [
                image,
                material.described.get(image, image),
                thumbnails.get(material.pictures.get(image, ""), 0),
            ]
            for image in data.images
        ],
        "keywords": [list(entry) for entry in vocabulary],
        "rows": listed,
        "utterances": len(data.utterances),
        "players": sum(1 for entry in listed if entry[3]),
    }


def _thinned(items: Sequence, number: int) -> Sequence:
    """As many items at even distances."""
    if len(items) <= number:
        return items
    return [items[place * len(items) // number] for place in range(number)]
