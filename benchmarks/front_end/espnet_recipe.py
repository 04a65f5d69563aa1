"""Trains, decodes and scores ESPnet's own tasks with the upstream as their front end.

It runs the steps of an ESPnet recipe, with ESPnet's programs, on captions of the mini corpus. asr
recognises the caption, slu only its colours and things.

Example:
    python -m benchmarks.front_end.espnet_recipe MODEL downloads/mini exp/asr --train 600 --epochs 8
    python -m benchmarks.front_end.espnet_recipe MODEL downloads/mini exp/slu --task slu
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.front_end.voices import Recording, phrases, read_recordings
from espnet_plugin.data.scp import write_scp
from espnet_plugin.utils.atomic import write_text

LAUNCHER = (sys.executable, "-m", "s3prl_upstream.launch", "-m")


def content_words(recordings: Sequence[Recording]) -> frozenset[str]:
    """All colours and things."""
    found = phrases(recordings)
    return frozenset(word for phrase in found for word in (phrase.colour, phrase.thing))


def targets(recordings: Sequence[Recording], wanted: frozenset[str] | None) -> dict[str, list[str]]:
    """The wanted words of each recording, or all; recordings without any are skipped."""
    words = {
        recording.name: [w for w in recording.text.split() if wanted is None or w in wanted]
        for recording in recordings
    }
    return {name: found for name, found in words.items() if found}


def write_data(
    directory: Path, recordings: Sequence[Recording], words: dict[str, list[str]]
) -> None:
    """A Kaldi-style directory and the shape file of the recordings that have words."""
    import soundfile

    found = [recording for recording in recordings if recording.name in words]
    write_scp(directory / "wav.scp", {r.name: r.path.absolute() for r in found})
    write_scp(directory / "text", {r.name: " ".join(words[r.name]) for r in found})
    write_scp(directory / "shape", {r.name: soundfile.info(r.path).frames for r in found})


def write_tokens(path: Path, targets: Iterable[Sequence[str]]) -> None:
    """The words of the targets."""
    words = sorted({word for target in targets for word in target})
    path.write_text("\n".join(["<blank>", "<unk>", *words, "<sos/eos>"]) + "\n")


def run(*arguments: object, log: Path) -> None:
    """Runs one of ESPnet's programs through the launcher."""
    command = [*LAUNCHER, *map(str, arguments)]
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    with open(log, "w", encoding="utf-8") as file:
        subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, check=True, env=environment)


def train(args: argparse.Namespace, data: Path) -> None:
    """asr_train or slu_train with CTC on words."""
    front_end = {"upstream": args.upstream, "path_or_url": str(Path(args.model).absolute())}
    files = []
    for part in ("train", "valid"):
        for file in ("wav.scp,speech,sound", "text,text,text"):
            files += [f"--{part}_data_path_and_name_and_type", f"{data / part}/{file}"]
        files += [f"--{part}_shape_file", data / part / "shape"]
    run(
        f"espnet2.bin.{args.task}_train", *files, "--output_dir", args.directory / "exp",
        "--token_type", "word", "--token_list", data / "tokens", "--frontend", "s3prl",
        "--frontend_conf", json.dumps({"frontend_conf": front_end, "multilayer_feature": True}),
        "--normalize", "utterance_mvn", "--encoder", "rnn",
        "--encoder_conf", "{num_layers: 1, hidden_size: 128, output_size: 128, dropout: 0.0}",
        "--model_conf", "{ctc_weight: 1.0, report_cer: false, report_wer: false}",
        "--optim", "adam", "--optim_conf", "lr=0.002",
        "--batch_type", "sorted", "--batch_size", "16", "--max_epoch", args.epochs,
        "--keep_nbest_models", "1", "--best_model_criterion", "valid,loss,min", "--ngpu", args.ngpu,
        "--num_workers", "0", "--use_matplotlib", "false", "--num_att_plot", "0",
        log=args.directory / "train.log",
    )  # fmt: skip


def decode(args: argparse.Namespace, data: Path) -> dict[str, list[str]]:
    """asr_inference or slu_inference; words of each test utterance."""
    exp = args.directory / "exp"
    run(
        f"espnet2.bin.{args.task}_inference", f"--{args.task}_train_config", exp / "config.yaml",
        f"--{args.task}_model_file", exp / "valid.loss.best.pth",
        "--output_dir", args.directory / "decoded",
        "--data_path_and_name_and_type", f"{data / 'test'}/wav.scp,speech,sound",
        "--ctc_weight", "1.0", "--beam_size", "2", "--ngpu", args.ngpu, "--num_workers", "0",
        log=args.directory / "decode.log",
    )  # fmt: skip
    text = (args.directory / "decoded" / "1best_recog" / "text").read_text()
    return {name: words for name, *words in map(str.split, text.splitlines())}


def main(cmd: Sequence[str] | None = None) -> None:
    """Prints the word error rate and writes it to ``result.json``."""
    import editdistance

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="path_or_url of the front end")
    parser.add_argument("mini", type=Path, help="the mini corpus, downloads/mini")
    parser.add_argument("directory", type=Path, help="folder of the experiment")
    parser.add_argument("--task", choices=("asr", "slu"), default="asr")
    parser.add_argument("--upstream", default="speechclip_plus")
    parser.add_argument("--train", type=int, default=600, help="training utterances")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--ngpu", type=int, default=0)
    args = parser.parse_args(cmd)
    recordings = read_recordings(args.mini)
    data = args.directory / "data"
    parts = {"train": args.train, "valid": args.train // 8, "test": args.train // 8}
    splits = {"train": "train", "valid": "dev", "test": "test"}
    chosen = {part: recordings[splits[part]][:number] for part, number in parts.items()}
    wanted = content_words(chosen["train"]) if args.task == "slu" else None
    words = {part: targets(chosen[part], wanted) for part in chosen}
    for part, part_recordings in chosen.items():
        write_data(data / part, part_recordings, words[part])
    write_tokens(data / "tokens", words["train"].values())
    start = time.monotonic()
    train(args, data)
    decoded = decode(args, data)
    errors = sum(
        editdistance.eval(found, decoded.get(name, [])) for name, found in words["test"].items()
    )
    total = sum(map(len, words["test"].values()))
    result = {
        "task": args.task,
        "upstream": args.upstream,
        "train_utterances": len(words["train"]),
        "test_utterances": len(words["test"]),
        "epochs": args.epochs,
        "word_error_rate": round(100 * errors / total, 2),
        "seconds": round(time.monotonic() - start),
    }
    print(f"{args.task}: {result['word_error_rate']:.2f} % word errors, {result['seconds']} s")
    write_text(args.directory / "result.json", json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
