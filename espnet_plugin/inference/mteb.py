"""Models in MTEB, the Massive Text Embedding Benchmark, as sentence-transformers models.

docs/mteb.md lists the tasks that fit, and how to submit results.
"""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import Any

from espnet_plugin.inference.speechclip import Branch, SpeechCLIP
from espnet_plugin.pretrained.fingerprint import model_fingerprint

try:
    from mteb.models import SentenceTransformerEncoderWrapper
    from sentence_transformers import SentenceTransformer

    from espnet_plugin.inference.sentence_transformers import MODALITIES, SpeechCLIPModule
except ImportError as error:
    raise ImportError(f"MTEB's tasks need mteb: pip install mteb (extra: mteb); {error}") from error


def mteb_model(
    name: str | Path, *, device: str | None = None, branch: Branch | None = None, **options: Any
) -> SentenceTransformerEncoderWrapper:
    """Loads a trained model in the form that MTEB's tasks call.

    Its revision is its fingerprint. So MTEB does not show stored results of other weights.

    Example:
        >>> model = mteb_model("exp/speechclip_flickr8k_hybrid_plus")
        >>> mteb.evaluate(model, mteb.get_tasks(tasks=["SpokenCOCOA2IRetrieval"]))

    Args:
        name: Name or path that :meth:`SpeechCLIP.from_pretrained` takes, with ``options``.
        device: Torch device, by default a GPU where there is one.
        branch: Branch that embeds recordings, see :meth:`SpeechCLIP.encode_speech`. If you name
            one, it is an experiment of its own among MTEB's results.

    Raises:
        FileNotFoundError: If there is no such model.
        ValueError: If it has no such branch.
    """
    speech = SpeechCLIP.from_pretrained(name, device=device, **options)
    speech.encode_speech([], branch=branch)  # finds an unknown branch now
    module = SentenceTransformer(modules=[SpeechCLIPModule(speech)], device=device)
    limit = logging.root.manager.disable
    logging.disable(logging.WARNING)  # MTEB looks for a tokenizer and for a table of embeddings
    try:
        model = SentenceTransformerEncoderWrapper(module)
    finally:
        logging.disable(limit)
    here = Path(name).expanduser()
    facts: dict[str, Any] = {
        "name": f"local/{here.resolve().name}" if here.exists() or here.name == name else name,
        "revision": model_fingerprint(name)[:16],
        "modalities": list(MODALITIES),
    }
    if branch is not None:
        facts["experiment_kwargs"] = {"branch": branch}
        model.encode = partial(model.encode, branch=branch)
    model.mteb_model_meta = model.mteb_model_meta.model_copy(update=facts)
    return model
