"""Names of the architectures, in the order in which the papers introduce them; ours last."""

from __future__ import annotations

from collections.abc import Collection, Mapping

PAPERS = ("parallel", "cascaded", "cascaded+", "hybrid", "hybrid+")
ARCHITECTURES = (*PAPERS, "hybrid+ annealed")


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


def architecture_place(name: str) -> tuple[int, str]:
    """Key to sort by.

    Args:
        name: Of an architecture, its configuration (``hybrid_plus``) or an ablation of that
            (``hybrid_plus.<change>``); unknown ones come last.
    """
    base = name.partition(".")[0].replace("_plus", "+").replace("_", " ")
    known = base in ARCHITECTURES
    return ARCHITECTURES.index(base) if known else len(ARCHITECTURES), name
