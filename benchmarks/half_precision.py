"""The frozen speech encoder in bfloat16 and in float32, in processor seconds.

Example:
    python -m benchmarks.half_precision
"""

from __future__ import annotations

import tempfile
import time

import torch
from torch import Tensor

from benchmarks.measure import parser_of, print_table, spread
from benchmarks.step import HUBERT, make_batch


def main() -> None:
    """Encodes a batch in turn, and compares the worst frame of any layer."""
    quick = parser_of(__doc__).parse_args().quick
    torch.set_num_threads(1)
    from transformers import HubertConfig

    from espnet_plugin.teachers.backends.huggingface import HuggingFaceBackend
    from espnet_plugin.teachers.speech_encoder import FrozenSpeechEncoder

    size, layers, utterances = ("tiny", 1, 2) if quick else ("base", 6, 8)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as directory:
        HubertConfig(**{**HUBERT[size], "num_hidden_layers": layers}).save_pretrained(directory)
        backend = HuggingFaceBackend(model=directory, random_weights=True)
    encoder = FrozenSpeechEncoder(backend)
    speech = make_batch(utterances, 8)["speech"]
    states: dict[bool, Tensor] = {}
    times: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(2 if quick else 10):
        for half in (False, True):
            started = time.process_time()
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                states[half] = encoder(speech.waveforms, speech.lengths).hidden_states
            times[half].append(time.process_time() - started)
    cosine = torch.cosine_similarity(states[True].float(), states[False], dim=-1)
    counted = states[False].abs().sum(dim=-1) > 0  # padded frames are zero
    what = f"{utterances} utterances, HuBERT {size} of {layers} layers"
    seconds = [spread(times[half][1:]) for half in (True, False)]  # the first warms up
    error = f"{float((1 - cosine[counted]).max()):.4f}"
    print_table(
        ("", "bfloat16 (autocast)", "float32", "1 - cosine of hidden states, at most"),
        [(what, *seconds, error)],
    )


if __name__ == "__main__":
    main()
