"""Makes the recipe's ``local`` importable, as it is when run from the recipe's directory."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.s3prl_upstream.conftest import exported, model_dir  # noqa: F401

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "egs2" / "speechclip_plus"))
