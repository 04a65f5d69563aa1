"""A spoken query from a cold start with mini's model and images, in processor seconds.

It needs what ``make demo`` makes. Importing PyTorch is measured too, because every program that
runs a model does that.

Example:
    python -m benchmarks.start_up
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import MODEL, RECIPE, parser_of, print_table, spread, usage_of


def main() -> None:
    """``speechclip search --wav``, beside importing PyTorch."""
    turns = 2 if parser_of(__doc__).parse_args().quick else 4
    if not MODEL.is_dir():
        raise SystemExit(f"start_up: error: {MODEL} is missing: run make demo")
    command = (sys.executable, "-m", "espnet_plugin.bin.speechclip")
    mini = RECIPE / "downloads" / "mini"
    wav = min((mini / "wavs").glob("test*"))
    with tempfile.TemporaryDirectory() as directory:
        index = Path(directory, "images.index")
        options = {
            "stdout": subprocess.DEVNULL,
            "env": os.environ | {"SPEECHCLIP_CACHE": str(Path(directory, "cache"))},
        }

        def seconds(*words: object) -> str:
            times = [usage_of(words, **options).cpu_seconds for _ in range(turns)]
            return spread(times[1:])  # the first reads the files from the disk

        search = (*command, "search", "--index", index, "--wav", wav)
        made = (*command, "index", mini / "images", "--model", MODEL, "--index", index)
        usage_of(made, **options)
        rows = [("import torch", seconds(sys.executable, "-c", "import torch"))]
        rows.append(("from voice to answer", seconds(*search)))
    print_table(("", "processor time"), rows)


if __name__ == "__main__":
    main()
