"""Names of the architectures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def architecture_name(config: Mapping[str, Any]) -> str:
    """The papers' name, or ours, of the architecture in a configuration.

    Args:
        config: An experiment's config.yaml. Its two switches decide, and how training chooses
            keywords. The defaults are those of ``model/factory.py``.
    """
    extractor = config.get("keyword_extractor", "cif")
    if extractor in (None, "none"):
        return "parallel"
    name = "hybrid" if (config.get("model_conf") or {}).get("parallel", True) else "cascaded"
    name += {"cls": "", "cif": "+"}.get(extractor, f" ({extractor})")
    hard = (config.get("quantizer_conf") or {}).get("hard", True)
    return name if hard else f"{name} annealed"
