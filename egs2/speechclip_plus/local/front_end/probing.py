"""What each hidden state knows: words, phones and speakers, read by linear classifiers.

On the mini corpus, where all three are known. A trained model's last state is its block's: compared
with the others it shows what visual grounding changed.

Example:
    python -m local.front_end.probing MODEL downloads/mini OUT --superb exp/superb/speechclip_plus
    python -m local.front_end.probing downloads/mini/hubert downloads/mini OUT
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from espnet_plugin.utils.atomic import write_text
from espnet_plugin.utils.command import command_errors


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "model", help="as -k of the upstream, or the folder of a bare speech encoder (HuBERT)"
    )
    parser.add_argument("mini", type=Path, help="the mini corpus, downloads/mini")
    parser.add_argument("directory", type=Path, help="where probing.json and probing.png go")
    parser.add_argument("--size", type=int, default=600, help="training utterances")
    parser.add_argument(
        "--superb", type=Path, help="directory of one upstream's SUPERB runs: draws their weights"
    )
    return parser


@command_errors("probing")
def main(cmd: Sequence[str] | None = None) -> None:
    """Prints the table, and writes it with the figure."""
    args = get_parser().parse_args(cmd)
    from local.front_end.probes import PROBES, BareEncoder, collect, draw, layer_weights, probe
    from local.front_end.voices import read_recordings

    from s3prl_upstream.expert import UpstreamExpert

    recordings = read_recordings(args.mini)["train"][: round(1.5 * args.size)]
    is_bare = (Path(args.model) / "config.json").is_file()
    upstream = (BareEncoder if is_bare else UpstreamExpert)(args.model)
    # captions of other pictures, by the same voices
    train = collect(upstream, recordings[: args.size])
    test = collect(upstream, recordings[args.size :])
    results = {name: probe(train[name], test[name]) for name in PROBES}
    runs = sorted(args.superb.glob("*/*best*.ckpt")) if args.superb else []
    weights = {path.parent.name: layer_weights(path) for path in runs}
    args.directory.mkdir(parents=True, exist_ok=True)
    content = {name: vars(result) for name, result in results.items()} | {"layer_weights": weights}
    write_text(args.directory / "probing.json", json.dumps(content, indent=2) + "\n")
    states = [f"state {number}" for number in range(len(results["word"].accuracy))]
    if not is_bare:
        states[-1] = "block"
    draw(args.directory / "probing.png", states, results, weights)
    heads = [*states, "chance"]
    print(f"| probe | {' | '.join(heads)} |")
    print(f"|---|{'---|' * len(heads)}")
    for name, result in results.items():
        values = [*result.accuracy, result.chance]
        print(f"| {name} | {' | '.join(f'{value:.1f}' for value in values)} |")


if __name__ == "__main__":
    main()
