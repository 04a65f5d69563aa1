"""Runs Python with the upstream ``speechclip_plus`` registered, also in the processes it starts.

    python -m s3prl_upstream.launch -m espnet2.bin.asr_train --config conf/train.yaml ...
    python -m s3prl_upstream.launch program.py ...

The arguments are Python's own. For an ESPnet recipe, give
``--python "python3 -m s3prl_upstream.launch"``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from s3prl_upstream import SITE_DIRECTORY


def main(cmd: Sequence[str] | None = None) -> None:
    """Replaces this process by Python with the hook's directory first in PYTHONPATH."""
    paths = [SITE_DIRECTORY, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    root = Path(SITE_DIRECTORY).parents[1]
    if root == Path.cwd():  # as -m found this package; a program's file would not
        paths.append(str(root))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    arguments = sys.argv[1:] if cmd is None else cmd
    os.execve(sys.executable, [sys.executable, *arguments], environment)


if __name__ == "__main__":
    main()
