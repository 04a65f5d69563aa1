"""Checks prose for habits that make it hard to read, long sentences and wide lines.

    python -m tests.prose [--only] [FILE ...]

A complaint has file and line, what is wrong, and what to write instead. Without FILE it checks all
pages, and the docstrings, comments and messages of all Python, but those of LEFT_OUT. With --only
it checks those of them that are named. Code in pages is skipped. Habits are in prose_habits.tsv.
"""

from __future__ import annotations

import ast
import inspect
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("*.md", "docs/*.md", "docs/tutorials/*.md", "egs?/*/*.md", "egs?/*/local/**/*.md")
PAGES += ("egs?/*/results/*.md", "egs?/*/models/**/*.md", "tests/*/README.md")
PAGES += (".github/**/*.md", "contrib/**/*.md")
# take a page out when you rewrite it
LEFT_OUT = {
    "tests/espnet_plugin/evaluation/test_training_log.py",  # it quotes a log
}
PYTHON = ("*.py", "docs/*.py", "docs/_ext/*.py", "egs?/*/run.py", "egs?/*/local/**/*.py")
PYTHON += tuple(
    f"{folder}/**/*.py"
    for folder in "benchmarks contrib docs/examples espnet_plugin s3prl_upstream tests".split()
)
LONGEST, WIDTH = 35, 140
PROGRAM = re.compile(r"^\s*(import|from|def) ", re.MULTILINE)  # a string that is code
# code, comments, the targets of links, formulas
# an empty line between two rows; behind it, another table may begin
DIVIDED = re.compile(r"^\|.*\n\n\|(?!.*\n\|[-:| ]+\n)", re.MULTILINE)
CODE = re.compile(
    r"(`+).+?\1|<!--.*?-->|\]\([^)]*\)|https?://\S+|\$\$.+?\$\$|\$(?! )[^$]+\$", re.DOTALL
)
END = re.compile(r"(?<=[.!?])[\"')*]*\s+(?=[^\sa-z])")
ITEM = re.compile(r"\s*([-*#>|:]|\d+\. |\w+(, \w+)*: )")  # begins a paragraph
HABITS = [
    (re.compile(pattern.replace(" ", r"\s"), re.IGNORECASE), advice)
    for pattern, advice in (
        line.split("\t")
        for line in Path(__file__).with_name("prose_habits.tsv").read_text("utf-8").splitlines()
    )
]


def paragraphs(text: str, first: int = 1) -> Iterator[tuple[int, str]]:
    """First line and text of each paragraph, item and row of Markdown or a docstring."""
    block, start, before, fence, code = [], first, "", False, False
    for number, line in enumerate([*text.splitlines(), ""], first):
        fenced = line.lstrip().startswith(("```", "~~~"))
        begins = before.strip() in ("", "Example:")
        code = fence or fenced or (line.startswith("    ") and (begins or code))
        fence ^= fenced
        if block and (code or not line.strip() or ITEM.match(line)):
            yield start, "\n".join(block)
            block = []
        if line.strip() and not code:
            start = start if block else number
            block.append(line)
        before = line


def prose(file: Path) -> Iterator[tuple[int, str]]:
    """Paragraphs of a page; of Python its comments, docstrings and strings of four words."""
    text = file.read_text(encoding="utf-8")
    if file.suffix != ".py":
        yield from paragraphs(text)
        return
    for node in ast.walk(ast.parse(text)):
        string = node.value if isinstance(node, ast.Constant) else None
        if isinstance(string, str) and string.count(" ") > 2 and not PROGRAM.search(string):
            above = len(string) - len(string.lstrip("\n"))  # lines that cleandoc removes
            yield from paragraphs(inspect.cleandoc(string), node.lineno + above)
    comments = [""] * (text.count("\n") + 1)  # by line, so neighbours are one paragraph
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            item = "- " * (not token.line.lstrip().startswith("#"))  # behind code: on its own
            comments[token.start[0] - 1] = item + token.string.lstrip("# ")
    yield from paragraphs("\n".join(comments))


def complaints(file: Path) -> Iterator[tuple[int, str]]:
    """Line and text of each complaint about a file."""
    for start, text in prose(file):
        plain = CODE.sub(lambda m: "…" * (m[0][0] != "]") + "\n" * m[0].count("\n"), text)
        for pattern, advice in HABITS:
            for match in pattern.finditer(plain):
                line = start + plain.count("\n", 0, match.start())
                yield line, f"'{' '.join(match[0].split())}': {advice}"
        cells = plain.split("|") if plain.startswith("|") else [plain]
        counts = [len(re.findall(r"\w[\w'’.,-]*", s)) for cell in cells for s in END.split(cell)]
        if max(counts) > LONGEST:
            yield start, f"a sentence of {max(counts)} words: split it, {LONGEST} at most"
        for line, wide in enumerate(plain.splitlines(), start):
            # ruff checks the width of Python
            if file.suffix == ".md" and len(wide) > WIDTH and not wide.startswith(("|", "!")):
                yield line, f"a line of {len(wide)} characters: wrap it at {WIDTH}"
            if file.suffix == ".md" and wide.startswith("%"):
                yield line, "Sphinx takes a line that begins with % for a comment: wrap elsewhere"
    if file.suffix == ".md":
        text = file.read_text(encoding="utf-8")
        for match in DIVIDED.finditer(text):
            yield text.count("\n", 0, match.start()) + 2, "an empty line divides a table: delete it"


def main(arguments: list[str]) -> int:
    """Prints all complaints; returns 1 if there are any."""
    only, names = arguments[:1] == ["--only"], [name for name in arguments if name != "--only"]
    named = sorted({Path(name).resolve() for name in names})
    everything = {path for pattern in PAGES + PYTHON for path in ROOT.glob(pattern)}
    kept = sorted(p for p in everything if p.relative_to(ROOT).as_posix() not in LEFT_OUT)
    if only:
        files = [file for file in kept if file in named]
    else:
        files = named or kept
    found = False
    for file in files:
        for line, complaint in sorted(complaints(file)):
            shown = file.relative_to(ROOT) if file.is_relative_to(ROOT) else file
            print(f"{shown}:{line}: {complaint}")
            found = True
    return int(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
