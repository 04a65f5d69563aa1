"""The constructor that ESPnet's commands expect of an inference class."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from espnet_plugin.inference.speechclip import SpeechCLIP
from espnet_plugin.pretrained.storage import load_with_stored

if TYPE_CHECKING:
    import torch


class SpeechCLIPInference(SpeechCLIP):
    """:class:`SpeechCLIP`, built from the files of an experiment as ESPnet's ``Speech2Text`` is.

    Example:
        >>> model = SpeechCLIPInference("exp/x/config.yaml", "exp/x/valid.recall_mean_at_1.ave.pth")
        >>> result = model("speech.wav")
        >>> [keyword.token for keyword in result.keywords]

    Args:
        speechclip_train_config: ``config.yaml``, by default the one beside the checkpoint.
        speechclip_model_file: A checkpoint of the experiment, by default the best one by the first
            of its ``best_model_criterion``.
        device: Torch device, by default the CPU, as ESPnet's classes for inference have it. None
            takes a GPU if there is one.
        trust_remote_code: Whether you trust the model, see :meth:`SpeechCLIP.from_pretrained`.
        **options: Other options of that method.
    """

    def __init__(
        self,
        speechclip_train_config: str | Path | None = None,
        speechclip_model_file: str | Path | None = None,
        *,
        device: str | torch.device | None = "cpu",
        trust_remote_code: bool = False,
        **options: Any,
    ) -> None:
        if speechclip_train_config is None and speechclip_model_file is None:
            raise ValueError("give a model file, or a training configuration, or both")
        source = speechclip_model_file or Path(str(speechclip_train_config)).parent
        model, stored = load_with_stored(
            source,
            speechclip_train_config,
            image_tower=False,
            text_tower=True,
            trust_remote_code=trust_remote_code,
        )
        super().__init__(
            model,
            source=source,
            choices=stored.choices,
            spoken_languages=stored.spoken_languages,
            device=device,
            trust_remote_code=trust_remote_code,
            **options,
        )
