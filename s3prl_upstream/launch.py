"""Runs any ESPnet or s3prl program with the upstream ``speechclip_plus`` registered.

    python -m s3prl_upstream.launch -m espnet2.bin.asr_train --config conf/train.yaml ...
    python -m s3prl_upstream.launch program.py ...
    python -m s3prl_upstream.launch -c "statements" ...

Every ESPnet recipe takes it as ``--python "python3 -m s3prl_upstream.launch"``. Processes that a
program spawns import this module again, and so have the upstream, too.
"""

from __future__ import annotations

import ast
import importlib
import importlib.machinery
import importlib.util
import runpy
import sys
from collections.abc import Sequence
from importlib.abc import SourceLoader
from pathlib import Path

from s3prl_upstream import import_hook

# At module level: a spawned child imports the parent's main module, but does not call main().
import_hook.install()

USAGE = (
    "usage: python -m s3prl_upstream.launch (-m MODULE | -c STATEMENTS | FILE | -) [ARGUMENT ...]"
)


def main(cmd: Sequence[str] | None = None) -> None:
    """Runs what the arguments name, as ``python`` itself would."""
    arguments = list(sys.argv[1:] if cmd is None else cmd)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE, file=sys.stderr)
        raise SystemExit(0 if arguments else 2)
    first, *rest = arguments
    if first in ("-m", "-c") and not rest:
        print(f"{first} needs an argument\n{USAGE}", file=sys.stderr)
        raise SystemExit(2)
    if first == "-m":
        _run_module(rest[0], rest[1:])
    elif first == "-c":
        _run_statements(rest[0], "-c", rest[1:])
    elif first == "-":
        _run_statements(sys.stdin.read(), "-", rest)
    elif first.startswith("-"):
        print(f"option {first} is not known\n{USAGE}", file=sys.stderr)
        raise SystemExit(2)
    else:
        sys.argv = [first, *rest]
        sys.path.insert(0, str(Path(first).resolve().parent))  # where it imports from
        runpy.run_path(first, run_name="__main__")


def _run_module(name: str, arguments: list[str]) -> None:
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    sys.argv = [spec.origin or name, *arguments]
    if not _has_main(spec):
        # __main__ stays this module, so that spawned children import it
        runpy.run_module(name, run_name="__main__", alter_sys=False)
        return
    # Called under its own module name, the program can pickle what it defines.
    result = importlib.import_module(name).main()
    if isinstance(result, int) and not isinstance(result, bool):
        raise SystemExit(result)


def _has_main(spec: importlib.machinery.ModuleSpec) -> bool:
    """Whether a module defines a function ``main`` that can be called without arguments."""
    if spec.submodule_search_locations or not isinstance(spec.loader, SourceLoader):
        return False
    source = spec.loader.get_source(spec.name) or ""
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "main":
            given = statement.args
            positional = len(given.posonlyargs) + len(given.args)
            return positional == len(given.defaults) and None not in given.kw_defaults
    return False


def _run_statements(source: str, name: str, arguments: list[str]) -> None:
    sys.argv = [name, *arguments]
    exec(
        compile(source, f"<{name}>", "exec"), {"__name__": "__main__", "__builtins__": __builtins__}
    )


if __name__ == "__main__":
    main()
