"""The speech encoder that a user names in one word, and whether it can be had."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from espnet_plugin.teachers.hub import CONFIG_JSON, from_cache_or_hub, is_remote_name
from espnet_plugin.utils.options import did_you_mean
from espnet_plugin.utils.small_files import read_json

S3PRL = "s3prl"
ENCODERS = ("huggingface", "whisper", "w2v_bert", S3PRL)  # of backends that a name is enough for


@dataclass(frozen=True)
class NamedEncoder:
    """A speech encoder by the names of a configuration.

    Attributes:
        encoder: ``speech_encoder``.
        model: ``speech_encoder_conf.model``.
        checkpoint: ``speech_encoder_conf.checkpoint``, empty if there is none.
    """

    encoder: str
    model: str
    checkpoint: str = ""


def parse_upstream(text: str) -> NamedEncoder:
    """Reads the forms of the recipe's ``--speech_upstream``.

    These are ``owner/name`` and ``huggingface:NAME`` (a name on the hub or a folder),
    ``whisper:NAME``, ``w2v_bert:NAME``, ``s3prl:NAME``, ``s3prl:NAME:CHECKPOINT``, and a bare word,
    which is a folder here or one of s3prl's names.

    Raises:
        ValueError: If what is before the colon has no meaning.
    """
    word, colon, name = text.partition(":")
    if not colon:
        folder = "/" in text or Path(text).is_dir()
        return NamedEncoder("huggingface" if folder else S3PRL, text)
    if word == S3PRL:
        model, _, checkpoint = name.partition(":")
        return NamedEncoder(S3PRL, model, checkpoint)
    if word not in ENCODERS:
        raise ValueError(
            f"--speech_upstream {text}: {word} is not known{did_you_mean(word, ENCODERS)}; before "
            f"the colon write {', '.join(ENCODERS)}"
        )
    return NamedEncoder(word, name)


def require_upstream(upstream: NamedEncoder, *, made_later: bool = False) -> None:
    """Looks for a speech encoder without loading its weights.

    Args:
        upstream: The encoder.
        made_later: Whether a folder that is not there yet will be made.

    Raises:
        FileNotFoundError: If there is no such folder, file or repository.
        ImportError: If it needs s3prl, which is not there.
        ValueError: If s3prl has no such name, or the model is of another kind.
    """
    if upstream.encoder == S3PRL:
        from espnet_plugin.teachers.backends.s3prl import upstream_entry

        upstream_entry(upstream.model)
        if upstream.checkpoint and not Path(upstream.checkpoint).exists():
            raise FileNotFoundError(f"{upstream.checkpoint}: there is no such checkpoint")
        return
    from espnet_plugin.teachers.backends.huggingface_loading import MODEL_TYPES

    kinds = MODEL_TYPES.get(upstream.encoder)
    folder = Path(upstream.model).expanduser()
    if kinds is None:
        return  # a class of the user's own
    if folder.is_dir():
        file = folder / CONFIG_JSON
    elif is_remote_name(upstream.model):
        file = _from_hub(upstream.model)
    elif made_later:
        return
    else:
        raise FileNotFoundError(f"{upstream.model}: there is no such folder of a speech encoder")
    try:
        kind = read_json(file).get("model_type")
    except (AttributeError, ValueError) as error:
        raise ValueError(f"{file}: not the configuration of a speech encoder: {error}") from error
    if kind not in kinds:
        fitting = [word for word, own in MODEL_TYPES.items() if kind in own]
        raise ValueError(
            f"{upstream.model}: a model of the kind {kind}, which "
            + (f"{fitting[0]}:{upstream.model} reads" if fitting else "cannot be read")
            + f"; {upstream.encoder} reads {', '.join(kinds)}"
        )


def _from_hub(name: str) -> Path:
    from huggingface_hub import hf_hub_download

    load = partial(hf_hub_download, name, CONFIG_JSON)
    return Path(
        from_cache_or_hub(
            load,
            missing=f"the speech encoder {name} is not",
            remedy="Check the name, or download it where there is a network",
        )
    )
