"""The two READMEs tell the same: commands, names and figures."""

import re
from collections import Counter
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
ENGLISH, TURKISH = ((PROJECT / name).read_text(encoding="utf-8") for name in ("README.md", "README.tr.md"))


def commands(text):
    """The lines of code without their comments."""
    blocks = re.findall(r"```(?:console|python)\n(.*?)```", text, re.DOTALL)
    return [line.partition("#")[0].strip() for block in blocks for line in block.splitlines()]


def results(text):
    """The numbers of the table of results, row by row."""
    table = re.search(r"95.*\|\n\| --- \| --- \| --- \|\n((?:\|.*\n)+)", text)[1]
    return [re.findall(r"\d[\d.,]*\d|\d", row.replace("35H", "")) for row in table.splitlines()]


def test_commands_are_the_same():
    assert commands(ENGLISH) == commands(TURKISH)
    assert len(commands(ENGLISH)) > 15


def test_results_are_the_same():
    assert [Counter(row) for row in results(ENGLISH)] == [Counter(row) for row in results(TURKISH)]


def test_names_in_the_turkish_one_stand_in_the_english_one():
    for name in re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", TURKISH, flags=re.DOTALL)):
        assert f"`{name}`" in ENGLISH, name


@pytest.mark.parametrize("text", [ENGLISH, TURKISH], ids=["English", "Turkish"])
def test_linked_files_are_there(text):
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (PROJECT / target).exists(), target
