"""Every fault that docs/faults.md tells of is a test, and every test here is told of there."""

from __future__ import annotations

import ast
import re

from tests.cluster.one_machine import CHECKOUT

FOLDER = CHECKOUT / "tests" / "faults"
TABLE = (CHECKOUT / "docs" / "faults.md").read_text()
ROW = re.compile(r"^\| (\d+|all) \|.*\| `(test_\w+\.py)::(test_\w+)` \|$", re.MULTILINE)
FAULTS = 17  # that must be survived, whatever else is


def to_be_found() -> set[tuple[str, str]]:
    return {
        (file.name, thing.name)
        for file in FOLDER.glob("test_*.py")
        if file.name != "test_faults_are_tested.py"
        for thing in ast.parse(file.read_text()).body
        if isinstance(thing, ast.FunctionDef) and thing.name.startswith("test_")
    }


def test_each_fault_has_its_test_and_each_test_its_fault() -> None:
    told = [(file, name) for _number, file, name in ROW.findall(TABLE)]
    assert len(told) == len(set(told))
    assert set(told) == to_be_found()


def test_none_is_missing() -> None:
    numbers = {int(number) for number, _file, _name in ROW.findall(TABLE) if number != "all"}
    assert numbers == set(range(1, FAULTS + 1))
