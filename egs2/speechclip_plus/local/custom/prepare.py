"""Make data/<name>_{train,dev,test} from a folder of your own.

The folder holds recordings and images of the same names (``names.py``), a table beside wavs/ and
images/ (``table.py``), or Parquet files (``local.shared.parquet``), as data sets of the Hugging
Face hub do.

    python -m local.custom.prepare --root my_corpus
    python -m local.custom.prepare --root a_data_set --caption_column sentence --split_column @file
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from local.shared.command import preparation_command
from local.shared.layout import corpus_root
from local.shared.parquet import read_parquet
from local.shared.spoken_captions import Corpus, safe_id

from espnet_plugin.utils.errors import DataError

from .names import read_names
from .table import REMEDY, read_folder

GONE = {
    "recording_files": "name a folder of Parquet files by --custom_root, and write --split_column "
    "@file for {split} in a file's name, --language_column @file or @folder for {language}",
    "image_files": "files without the column of recordings have the images; name --image_of_column",
}
PARQUET_OPTIONS = {
    "audio_column": "column of the recordings (default: audio)",
    "image_column": "column of the images (default: image)",
    "image_of_column": "column that names a recording's image, if images are in other files",
    "image_id_column": "column of that name in those files (default: the images' own path)",
    "speaker_column": "column of the speaker",
    "language_column": "column of the language; @file or @folder if the files' places say it",
    "split_column": "the same of the split (default: by the images' content)",
    "caption_column": "column of what is said",
    "languages": "languages to take from Parquet files, separated by commas (default: all)",
    "test_only": "true: all recordings in Parquet files are for testing",
}
OPTIONS = {
    "root": "folder of the corpus",
    "name": "of the sets (default: custom)",
    "language": "that is spoken, such as sw, where the corpus does not say it",
    "target": "folder for what is unpacked from Parquet files (default: downloads/NAME)",
    **PARQUET_OPTIONS,
    **{option: f"gone: {instead}" for option, instead in GONE.items()},
}


def read_custom(
    root: str | Path,
    *,
    name: str = "",
    language: str = "",
    target: str | Path = "",
    speak: bool = False,
    **options: str,
) -> Corpus:
    """Read a folder of named files, one with a table, or one of Parquet files.

    Args:
        root: Folder of the corpus.
        name: Name of the corpus, which its sets have.
        language: Language that is spoken, where the corpus does not say it.
        target: Folder for what is unpacked.
        speak: Whether a table's captions may have no recording.
        options: Values of ``PARQUET_OPTIONS``; empty ones are left open.

    Raises:
        DataError: If a part is missing or its form is wrong. Wrong rows are reported later.
    """
    folder = corpus_root(root, variable="--custom_root", remedy=REMEDY)
    name = name or "custom"
    given = {option: value for option, value in options.items() if value}
    for option in given.keys() & GONE.keys():
        raise DataError(f"--{option} is gone: {GONE[option]}")
    has_table = any(folder.glob("*.tsv"))
    has_parquet = not has_table and next(folder.rglob("*.parquet"), None) is not None
    if given and not has_parquet:
        raise DataError(
            f"{folder}: --{', --'.join(given)} are for folders of Parquet files. {REMEDY}"
        )
    if speak and not has_table:
        raise DataError(f"{folder}: synthetic voices say the captions of a .tsv file. {REMEDY}")
    if has_parquet:
        languages = list(filter(None, map(str.strip, given.pop("languages", "").split(","))))
        test_only = given.pop("test_only", "") == "true"
        corpus = read_parquet(
            name,
            folder,
            Path(target or f"downloads/{name}"),
            languages=languages,
            test_only=test_only,
            remedy=REMEDY,
            **{option.removesuffix("_column"): column for option, column in given.items()},
        )
    elif has_table:
        corpus = read_folder(name, folder, speak=speak)
    else:
        corpus = read_names(name, folder)
    known = (replace(c, language=c.language or safe_id(language)) for c in corpus.captions)
    return replace(corpus, folder=folder, captions=known)


if __name__ == "__main__":
    preparation_command("custom", read_custom, __doc__, OPTIONS)
