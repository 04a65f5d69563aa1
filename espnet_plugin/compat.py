"""The only module that depends on the ESPnet version (202511 or 202611)."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

try:  # 202611 moved the old top-level package under espnet2.legacy
    from espnet2.legacy.utils.cli_utils import get_commandline_args
except ImportError:
    from espnet.utils.cli_utils import get_commandline_args

__all__ = ["get_commandline_args", "imports_off_stdout"]


@contextlib.contextmanager
def imports_off_stdout() -> Iterator[None]:
    """Sends output of imports to stderr.

    202511 prints a line about Flash Attention when its tasks are imported. It would be the first
    line of ``--print_config > train.yaml``.
    """
    with contextlib.redirect_stdout(sys.stderr):
        yield
