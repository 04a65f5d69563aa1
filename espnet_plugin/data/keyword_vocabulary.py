"""Count the CLIP sub-words of captions, and write them down as a keyword vocabulary."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from espnet_plugin.data.scp import DataError, read_lines
from espnet_plugin.speechclip.vocabulary import HEADER
from espnet_plugin.utils.atomic import write_text


def load_tokenizer(model: str) -> Any:
    """The tokenizer of an open_clip model, without the model.

    Args:
        model: An open_clip name, or the path of a JSON file with its configuration.

    Raises:
        DataError: The configuration cannot be read, or the tokenizer is not CLIP's.
    """
    import open_clip
    from open_clip.tokenizer import SimpleTokenizer

    if model.endswith(".json"):
        try:
            config = json.loads(Path(model).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"--clip_model {model}: cannot be read ({error})") from error
        text = config.get("model_cfg", config).get("text_cfg", {})
        tokenizer = None if text.get("hf_tokenizer_name") else SimpleTokenizer()
    else:
        tokenizer = open_clip.get_tokenizer(model)
    if not isinstance(tokenizer, SimpleTokenizer):
        raise DataError(f"--clip_model {model}: keywords need CLIP's own byte-pair tokenizer")
    return tokenizer


def count_subwords(captions: Iterable[str], tokenizer: Any) -> Counter[int]:
    """Counts token ids over captions, without start, end and padding."""
    counts: Counter[int] = Counter()
    for caption in captions:
        counts.update(tokenizer.encode(caption))
    return counts


def caption_lines(paths: Iterable[Path]) -> Iterable[str]:
    """The captions of several ``text`` files, one after another."""
    for path in paths:
        for _, caption in read_lines(path):
            yield caption


def write_vocabulary(
    path: str | Path,
    counts: Mapping[int, int],
    tokens: Mapping[int, str],
    *,
    order: Iterable[int] | None = None,
) -> None:
    """Writes token ids with their text and count.

    Args:
        path: File to write.
        counts: Occurrences of each token id.
        tokens: Text of each token id.
        order: Token ids in row order; None: most frequent first, ties by id.
    """
    rows = order or sorted(counts, key=lambda token_id: (-counts[token_id], token_id))
    lines = [HEADER] + [f"{row}\t{tokens[row]}\t{counts[row]}" for row in rows]
    write_text(path, "\n".join(lines) + "\n")
