"""Tells where retrieval by keywords is lost: recall of CLIP's text tower reading less and less.

From the caption by its content words down to the model's keywords, see docs/evaluation.md. Writes
ladder.npz and scoring/ladder.json into a set's inference directory; show_results then reports it.

Example:
    python -m espnet_plugin.bin.score_ladder --inference_dir EXP/inference_x/test \
        --speechclip_model_file EXP/valid.x.ave.pth --data_dir dump/raw/test
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from espnet_plugin.data.scp import DataError, read_scp
from espnet_plugin.evaluation.alignments import WORDS_CTM, read_ctm
from espnet_plugin.evaluation.inference_set import KEYWORDS, read_inference_set
from espnet_plugin.evaluation.ladder import LADDER, span_steps, text_steps, write_ladder
from espnet_plugin.evaluation.report.tables import ladder_tables
from espnet_plugin.evaluation.scores.keywords import load_token_texts
from espnet_plugin.evaluation.scores.ladder import score_ladder
from espnet_plugin.utils.command import add_trust_argument, command_errors
from espnet_plugin.utils.progress import progress

WAV_SCP = "wav.scp"


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--inference_dir", required=True, help="a set's inference directory")
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--speechclip_model_file", help="checkpoint")
    model.add_argument("--model_tag", help="packed or exported model, or a name")
    parser.add_argument("--speechclip_train_config", help="config.yaml [beside the checkpoint]")
    add_trust_argument(parser)
    parser.add_argument(
        "--data_dir",
        help="the set's data directory; wav.scp in it gives the keywords before the quantiser, and "
        "words.ctm those of the words' true spans",
    )
    parser.add_argument("--ngpu", type=int, default=0, help="0: CPU")
    parser.add_argument("--seed", type=int, default=0, help="seed of the words' order")
    return parser


@command_errors("score_ladder")
def main(cmd: Sequence[str] | None = None) -> None:
    """Runs the command; a fault of the data ends it with one message and exit code 1."""
    args = get_parser().parse_args(cmd)
    from espnet_plugin.inference.clip import embed_tokens
    from espnet_plugin.inference.ladder import read_speech
    from espnet_plugin.pretrained.storage import load_speechclip

    directory = Path(args.inference_dir)
    data = read_inference_set(directory)
    heard = {utterance.utterance: utterance for utterance in data.keywords}
    missing = [utterance for utterance in data.utterances if utterance not in heard]
    if missing:
        raise DataError(
            f"{directory / KEYWORDS}: no keywords and caption of {len(missing)} utterances, the "
            f"first is {missing[0]}: the ladder needs a cascaded branch and inference with --text"
        )
    model = load_speechclip(
        args.model_tag or args.speechclip_model_file,
        config=args.speechclip_train_config,
        device="cuda" if args.ngpu else "cpu",
        image_tower=False,
        trust_remote_code=args.trust_remote_code,
    )
    chosen = [heard[utterance] for utterance in data.utterances]
    ids = text_steps(chosen, load_token_texts(), seed=args.seed)
    embeddings = {
        step: embed_tokens(model.clip, tokens, description=step) for step, tokens in ids.items()
    }
    data_dir = Path(args.data_dir) if args.data_dir else None
    if data_dir and (data_dir / WAV_SCP).exists():
        recordings = read_scp(data_dir / WAV_SCP)
        absent = next((u for u in data.utterances if u not in recordings), None)
        if absent:
            raise DataError(f"{data_dir / WAV_SCP}: no recording of {absent}; is it of this set?")
        spans = {}
        if (data_dir / WORDS_CTM).exists() and hasattr(model.keyword_extractor, "cif"):
            spans = span_steps(data.utterances, read_ctm(data_dir / WORDS_CTM))
        files = [recordings[utterance] for utterance in data.utterances]
        readings = read_speech(model, files, spans)
        readings = list(progress(readings, description="speech", total=len(files)))
        for step in readings[0]:
            ids[step] = [reading[step].ids for reading in readings]
            embeddings[step] = np.stack([reading[step].embedding for reading in readings])
    write_ladder(directory / LADDER, ids, embeddings)
    for table in ladder_tables(score_ladder(data)):
        sys.stdout.write(table.markdown() + "\n\n")


if __name__ == "__main__":
    main()
