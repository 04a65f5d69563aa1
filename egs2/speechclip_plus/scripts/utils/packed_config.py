"""Write a packed model's configuration to a file: packed_config.py model.zip config.yaml."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

MAX_BYTES = 1 << 24

if __name__ == "__main__":
    with zipfile.ZipFile(sys.argv[1]) as packed:
        names = [name for name in packed.namelist() if name.endswith("config.yaml")]
        if names:
            Path(sys.argv[2]).write_bytes(packed.open(min(names, key=len)).read(MAX_BYTES))
