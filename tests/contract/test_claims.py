"""README.md says which test holds each thing that the API's document says: the tests it names are there."""

import json
import pathlib
import re

import pytest

HERE = pathlib.Path(__file__).parent
ROWS = [line.strip("|").split(" | ") for line in (HERE / "README.md").read_text().split("## What the document says")[1].split("\n")
        if line.startswith("| ") and not line.startswith("| what")]


def exists(file, name):
    if file.startswith("golden/"):
        path = HERE / (file + ".json")
        return path.exists() and name in json.loads(path.read_text())
    if name.startswith("test_"):
        return re.search(rf"def {name}\(", (HERE / (file + ".py")).read_text())
    suite, _, test = name.partition(".")
    return any(re.search(rf"^TEST(_F)?\({suite},\s*{test}\)", path.read_text(), re.M)
               for path in HERE.parent.rglob(file + ".cpp"))


def test_there_is_a_table():
    assert len(ROWS) > 80


@pytest.mark.parametrize("row", [pytest.param(row, id=row[0].strip()) for row in ROWS])
def test_each_claim_is_held_by_a_test_that_is_there_or_says_why_not(row):
    held = row[1]
    named = re.findall(r"`(\S+) ([^`]+)`", held)
    assert named or re.search(r"\bdecided: \w+", held)
    missing = [f"{file} {name}" for file, name in named if not exists(file, name)]
    assert not missing
