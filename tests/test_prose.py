from __future__ import annotations

from pathlib import Path

import pytest

from tests.prose import HABITS, LEFT_OUT, LONGEST, PYTHON, ROOT, WIDTH, complaints, main

SHORT = "It works."


def check(folder: Path, text: str, name: str = "page.md") -> list[tuple[int, str]]:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return list(complaints(file))


def lines(folder: Path, text: str, name: str = "page.md") -> list[int]:
    return [line for line, _ in check(folder, text, name)]


@pytest.mark.parametrize(
    ("habit", "plain"),
    [
        ("This is no model.", "This is not a model. There is no model. It is no longer one."),
        ("The page tells how it works.", "The page shows how it works. Use tells."),
        ("It is computed anew.", "It is computed again."),
        ("The file lies in data.", "The file is in data."),
        ("It fits, so that you gain time.", "It fits, so you gain time. Sort so that it fits."),
        ("Wait, for they are slow.", "Wait, because they are slow. Wait for them."),
        ("Two files, of which one is empty.", "Two files; one is empty."),
    ],
)
def test_habits_are_found_and_plain_sentences_are_not(
    habit: str, plain: str, tmp_path: Path
) -> None:
    found = check(tmp_path, f"# Title\n\n{SHORT}\n{habit}\n")
    assert [line for line, _ in found] == [4]
    assert "write" in found[0][1]
    assert check(tmp_path, plain) == []


def test_a_habit_over_two_lines_is_at_the_first(tmp_path: Path) -> None:
    assert lines(tmp_path, f"{SHORT}\n\nSee `is no x` and [a\nb](c): this is\nno page.\n") == [4]


def test_sentences_are_counted_by_words(tmp_path: Path) -> None:
    fits = " ".join(["it"] * LONGEST) + "."
    text = f"{SHORT} {SHORT}\n\nToo {fits}\n\n{fits} {SHORT}\n"
    assert check(tmp_path, text) == [(3, "a sentence of 36 words: split it, 35 at most")]
    assert lines(tmp_path, f"- {SHORT}\n| a | b |\n|---|---|\n| {fits} | Too {fits} |\n") == [4]
    assert lines(tmp_path, fits) == []


def test_wide_lines_are_found_without_links_and_code(tmp_path: Path) -> None:
    wide = "w" * (WIDTH + 1)
    assert lines(tmp_path, f"{SHORT}\n{wide}\n[a](https://{wide}) `{wide}`\n| {wide} |\n") == [2]


def test_code_is_not_prose(tmp_path: Path) -> None:
    text = "```\nanew\n\n    anew\n```\n\n    anew\n\n    anew\n\n<!-- anew -->\n- item\n    anew\n"
    assert lines(tmp_path, text) == [13]


def test_python_has_docstrings_comments_and_messages(tmp_path: Path) -> None:
    text = '''"""First line.

Computed anew.

Example:
    anew
"""

name = "anew"
x = 1  # made anew
# This is
# no file.
raise ValueError(f"{x}: the file lies in {x}")


def f():
    """Docstring.

    Args:
        x: Made anew.
    """
'''
    assert sorted(lines(tmp_path, text, "code.py")) == [3, 10, 11, 13, 20]


def test_complaints_name_file_and_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("Made anew.\n", encoding="utf-8")
    assert main([str(page)]) == 1
    assert capsys.readouterr().out == f"{page}:1: 'anew': write \"again\"\n"
    page.write_text("Made again.\n", encoding="utf-8")
    assert main([str(page)]) == 0


def test_lists_name_files_that_exist() -> None:
    assert all((ROOT / page).is_file() for page in LEFT_OUT)
    assert all(list(ROOT.glob(pattern)) for pattern in PYTHON)
    assert all(advice for _, advice in HABITS)


def test_code_and_formulas_are_not_counted_as_words(tmp_path: Path) -> None:
    names = ", ".join(["`name`"] * 40)
    formula = " ".join(["x + y ="] * 20)
    assert check(tmp_path, f"It takes {names}.\nIt is $\n{formula}$ or\n$${formula}$$") == []
