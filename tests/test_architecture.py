"""Which package may import which (docs/architecture.md), no import cycles."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
PACKAGES = ("espnet_plugin", "s3prl_upstream")
ROOTS = ("egs2/speechclip_plus/", "egs3/speechclip_plus/")  # of modules that a recipe imports
EVERYBODYS = {"utils", "compat", "patches"}  # used by all, and use no other


@functools.cache
def python_files() -> list[Path]:
    """The project's Python files, relative to it."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.py"],
        cwd=PROJECT, check=True, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    return [Path(name) for name in listed if (PROJECT / name).is_file()]


def module_name(file: Path) -> str:
    name = file.as_posix()
    for root in ROOTS:
        name = name.removeprefix(root)
    return name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@functools.cache
def imports(file: Path) -> list[str]:
    """Full names of what a file imports, at its top, in a function or for the types alone."""
    names = []
    for node in ast.walk(ast.parse((PROJECT / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            # what is imported from a package may be a module of it
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def imported_files() -> dict[str, set[str]]:
    """Which of our modules each of them imports."""
    files = {module_name(file): file for file in python_files()}
    graph = {}
    for module, file in files.items():
        names = {name if name in files else name.rpartition(".")[0] for name in imports(file)}
        graph[module] = names & files.keys()
    return graph


def package_of(module: str) -> str | None:
    """The package of a module; None for other people's."""
    package, *rest = module.split(".")
    if package == "espnet_plugin":
        return rest[0] if rest else None
    return package if package in PACKAGES else None


def imported_packages() -> dict[tuple[str, str], str]:
    """Pairs of packages, the first importing the second, and a place where it does."""
    found: dict[tuple[str, str], str] = {}
    for file in python_files():
        here = package_of(module_name(file))
        for module in imports(file) if here else ():
            there = package_of(module)
            if here and there and here != there:
                found.setdefault((here, there), f"{file} imports {module}")
    return found


def drawn_arrows() -> set[tuple[str, str]]:
    text = (PROJECT / "docs" / "packages.dot").read_text(encoding="utf-8")
    return set(re.findall(r"^ +(\w+) -> (\w+);$", text, flags=re.MULTILINE))


def packages_below(name: str) -> set[str]:
    """The packages that a package's arrows reach."""
    below: set[str] = set()
    waiting = [name]
    while waiting:
        here = waiting.pop()
        new = {b for a, b in drawn_arrows() if a == here} - below
        below |= new
        waiting.extend(new)
    return below


def test_imports_follow_the_arrows() -> None:
    found = {
        pair: place for pair, place in imported_packages().items() if pair[1] not in EVERYBODYS
    }
    against = [place for (a, b), place in found.items() if b not in packages_below(a)]
    assert not against, f"no arrow of docs/packages.dot leads there: {against}"
    unused = drawn_arrows() - found.keys()
    assert not unused, f"drawn, but nothing imports so: {unused}"


def test_the_drawing_has_every_arrow() -> None:
    svg = (PROJECT / "docs" / "packages.svg").read_text(encoding="utf-8")
    shown = re.findall(r"<title>(\w+)&#45;&gt;(\w+)</title>", svg)
    assert set(shown) == drawn_arrows(), "dot -Tsvg docs/packages.dot -o docs/packages.svg"


def test_the_table_has_every_package() -> None:
    page = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert sorted(rows) == sorted({end for arrow in drawn_arrows() for end in arrow})


def test_no_arrow_goes_back_up() -> None:
    for name in {a for a, _ in drawn_arrows()}:
        assert name not in packages_below(name)


def test_model_and_teachers_know_no_espnet() -> None:
    for (here, there), place in imported_packages().items():
        assert here not in EVERYBODYS or there in EVERYBODYS, place
    foreign = {"espnet", "espnet2", "espnet3"}
    for file in python_files():
        if package_of(module_name(file)) in ("model", "teachers"):
            assert not foreign & {module.split(".")[0] for module in imports(file)}, file


def test_there_is_no_import_cycle_between_files() -> None:
    try:
        TopologicalSorter(imported_files()).prepare()
    except CycleError as error:
        pytest.fail(" is imported by ".join(error.args[1]))


def changes_of_other_libraries(file: Path) -> list[str]:
    """Where a file assigns to what it imported: modules, classes, the environment."""
    tree = ast.parse((PROJECT / file).read_text(encoding="utf-8"))
    nodes = list(ast.walk(tree))
    foreign = {
        (alias.asname or alias.name).split(".")[0]
        for node in nodes
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    } | {
        node.arg
        for node in nodes
        if isinstance(node, ast.arg)
        and node.annotation is not None
        and re.match(r"(ModuleType|type)\b", ast.unparse(node.annotation))
    }
    written = [
        target
        for node in nodes
        for target in getattr(node, "targets", [getattr(node, "target", None)])
        if isinstance(target, (ast.Attribute, ast.Subscript))
    ]
    for node in nodes:
        if isinstance(node, ast.Call):
            function, first = ast.unparse(node.func), node.args[:1]
            if function == "setattr" or function.startswith(("mock.", "unittest.mock.")):
                written += first
            elif re.match(r"(sys\.(meta_path|modules)|os\.environ)\.(?!get\b)", function):
                written.append(node.func)
    found = []
    for target in written:
        root = target
        while isinstance(root, (ast.Attribute, ast.Subscript)):
            root = root.value
        if isinstance(root, ast.Name) and root.id in foreign:
            found.append(f"{file}:{target.lineno}: {ast.unparse(target)}")
    return found


def test_other_libraries_are_changed_in_one_module_of_each_package() -> None:
    allowed = re.compile(
        r"/patches\.py"
        # adds a name, which is what the package is for
        r"|^s3prl_upstream/__init__\.py:\d+: hub$"
        # Python finds it by this name, and it hides another one
        r"|: sys\.modules\['sitecustomize'\]$"
        # settings of programs that read them nowhere else
        r"|: os\.environ\['GRADIO_\w+'\]$|: sys\.argv$"
    )
    found = [
        place
        for file in python_files()
        if file.parts[0] in (*PACKAGES, "egs2", "egs3")
        for place in changes_of_other_libraries(file)
    ]
    assert [place for place in found if not allowed.search(place)] == []
    assert len([place for place in found if "/patches.py" in place]) > 15


def test_modules_that_scripts_run_run() -> None:
    """``python -m`` on a module without its main block does nothing, and succeeds."""
    modules = {module_name(file): PROJECT / file for file in python_files()}
    scripts = [PROJECT / "Makefile", *PROJECT.glob("egs?/*/**/*.sh"), PROJECT / ".ci" / "run"]
    run = {
        name
        for script in scripts
        if script.is_file()
        for name in re.findall(
            r" -m ((?:local|espnet_plugin|s3prl_upstream)[\w.]+)", script.read_text()
        )
    }
    assert len(run) > 20
    files = [modules.get(name) or modules[f"{name}.__main__"] for name in run]
    silent = [file for file in files if '__name__ == "__main__"' not in file.read_text()]
    assert silent == []
