"""Shows where retrieval by keywords is lost: recall of CLIP's text tower reading less and less.

From the caption by its content words down to the model's keywords, see docs/evaluation.md. Writes
scoring/ladder.json into a set's inference directory; show_results then reports it.

Example:
    python -m espnet_plugin.bin.score_ladder --inference_dir EXP/inference_x/test \
        --speechclip_model_file EXP/valid.x.ave.pth
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from espnet_plugin.data.inference_set import read_inference_set
from espnet_plugin.evaluation.ladder import captioned_utterances, score_ladder, text_steps
from espnet_plugin.evaluation.report.tables import ladder_tables
from espnet_plugin.evaluation.scores.keywords import load_token_texts
from espnet_plugin.utils.command import add_model_arguments, command_errors


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--inference_dir", required=True, help="a set's inference directory")
    add_model_arguments(parser, "--model_tag", "--speechclip_model_file")
    parser.add_argument("--ngpu", type=int, default=0, help="0: CPU")
    parser.add_argument("--seed", type=int, default=0, help="seed of the words' order")
    return parser


@command_errors("score_ladder")
def main(cmd: Sequence[str] | None = None) -> None:
    """Runs the command; a fault of the data ends it with one message and exit code 1."""
    args = get_parser().parse_args(cmd)
    from espnet_plugin.inference.clip import embed_tokens
    from espnet_plugin.pretrained.storage import load_clip

    data = read_inference_set(args.inference_dir)
    texts = load_token_texts()
    steps = text_steps(captioned_utterances(data), texts, seed=args.seed)
    clip = load_clip(args.model, image_tower=False, trust_remote_code=args.trust_remote_code)
    clip.to("cuda" if args.ngpu else "cpu")
    embeddings = {step: embed_tokens(clip, ids, description=step) for step, ids in steps.items()}
    for table in ladder_tables(score_ladder(data, steps, embeddings, texts)):
        sys.stdout.write(table.markdown() + "\n\n")


if __name__ == "__main__":
    main()
