"""Check a training's options without ESPnet's tasks, which take far longer to import."""

from __future__ import annotations

import argparse
import importlib.util
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from espnet2 import schedulers
from espnet2.utils.nested_dict_action import NestedDictAction
from torch import optim

from espnet_plugin.model.factory import COMPONENTS, default_options, projection
from espnet_plugin.model.layer_weighting import LayerWeighting
from espnet_plugin.pretrained.stored_model import read_config
from espnet_plugin.tasks.speechclip_options import (
    DEFAULT_MODEL,
    add_batch_arguments,
    add_model_arguments,
    set_defaults,
)
from espnet_plugin.teachers.clip import FrozenCLIP
from espnet_plugin.utils.command import CommandParser
from espnet_plugin.utils.options import check_options, did_you_mean, options_of


def training_options(cmd: Sequence[str]) -> dict[str, Any]:
    """The options of a training, of its configuration and its command line.

    Args:
        cmd: Command line of ``speechclip_train``.

    Raises:
        OSError: If the configuration cannot be read.
        ValueError: If an option or a key is unknown; the message names a similar one.
    """
    parser = _options_parser()
    path = parser.parse_args(cmd).config
    if path is not None:
        config, known = read_config(path), [action.dest for action in parser._actions]
        for key in config:
            if key not in known:
                raise ValueError(
                    f"{path}: there is no option {key}{did_you_mean(str(key), known)}; "
                    "speechclip_train --print_config lists all"
                )
        parser.set_defaults(**config)
    found = vars(parser.parse_args(cmd))
    try:
        for key, options in _nested_options(found):
            given = found[key] or {}
            if key == "speech_encoder_conf":  # what is switched off may be another encoder's
                given = [name for name in given if given[name] not in (None, False)]
            check_options(key, given, options)
    except ValueError as error:
        raise ValueError(f"{path}: {error}" if path else str(error)) from error
    return found


class _OptionsParser(CommandParser):
    def error(self, message: str) -> NoReturn:
        """Raises a ValueError."""
        raise ValueError("; ".join([message, *self.meant()]))


def _options_parser() -> argparse.ArgumentParser:
    """Knows the options of ``SpeechCLIPTask`` by their names; ESPnet's may have any value."""
    parser = _OptionsParser(add_help=False)
    parser.add_argument("-h", "--help", nargs="*")
    parser.add_argument("--config", type=Path)
    add_model_arguments(parser)
    add_batch_arguments(parser)
    for name in _espnet_options() - parser._option_string_actions.keys():
        if name.endswith("_conf"):
            parser.add_argument(name, action=NestedDictAction, default={})
        else:
            # the two whose options are checked below take one name
            parser.add_argument(name, nargs=None if name in ("--optim", "--scheduler") else "*")
    set_defaults(parser)
    return parser


def _espnet_options() -> set[str]:
    """The names of options in the source of ESPnet's tasks, where the first optimiser has none."""
    specification = importlib.util.find_spec("espnet2")
    assert specification is not None and specification.submodule_search_locations
    folder = Path(specification.submodule_search_locations[0])
    source = (folder / "tasks" / "abs_task.py").read_text(encoding="utf-8")
    return {"".join(found) for found in re.findall(r'"(--\w+)(?:\{suf\})?(\w*)"', source)}


def _nested_options(config: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[str]]]:
    """Each key with options of its own, and their names."""
    for key in COMPONENTS:
        yield f"{key}_conf", list(default_options(config, key))
    yield "layer_weighting_conf", list(options_of(LayerWeighting))
    for branch in ("parallel", "keyword"):
        yield f"{branch}_projection_conf", list(options_of(projection))
    yield "clip_conf", list(options_of(FrozenCLIP))
    yield "model_conf", list(DEFAULT_MODEL)
    constructors = _optimizers_and_schedulers()
    for key in ("optim", "scheduler"):
        constructor = constructors.get(str(config[key]).lower())
        if constructor is not None:  # those of packages that few have are left to ESPnet
            yield f"{key}_conf", list(inspect.signature(constructor).parameters)[1:]


def _optimizers_and_schedulers() -> dict[str, Callable[..., Any]]:
    """PyTorch's and ESPnet's classes by the names that a configuration has for them."""
    names = [module.name for module in pkgutil.iter_modules(schedulers.__path__)]
    own = [importlib.import_module(f"{schedulers.__name__}.{name}") for name in names]
    return {
        name.lower(): value
        for module in (optim, optim.lr_scheduler, *own)
        for name, value in vars(module).items()
        if isinstance(value, type)
    }
