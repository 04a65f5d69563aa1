"""Names of the architectures."""

from __future__ import annotations

from collections.abc import Collection, Mapping


def architecture_name(config: Mapping, branches: Collection[str]) -> str:
    """Names the architecture by its two switches, and by how keywords are chosen in training.

    Args:
        config: The experiment's config.yaml; may be empty.
        branches: The branches whose embeddings there are, by which it is guessed otherwise.
    """
    parallel = config.get("model_conf", {}).get("parallel", "parallel" in branches)
    extractor = config.get("keyword_extractor") or ("cls" if "cascaded" in branches else "none")
    if extractor == "none":
        return "parallel"
    name = "hybrid" if parallel else "cascaded"
    name += {"cls": "", "cif": "+"}.get(extractor, f" ({extractor})")
    hard = (config.get("quantizer_conf") or {}).get("hard", True)
    return name if hard else f"{name} annealed"
