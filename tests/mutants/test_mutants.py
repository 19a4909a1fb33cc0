"""What is planted is one fault each, and the kept table is of faults that there are."""

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.mutants.__main__ import kept_rows
from tests.mutants.near import NEAR, near_tests
from tests.mutants.planting import mutants


@pytest.mark.parametrize(
    ("text", "became"),
    [
        ("x = a < b", {"x = (a <= b)"}),
        ("x = a == b != c", {"x = (a != b != c)"}),
        ("x = a and b", {"x = (a or b)"}),
        ("x = a * b + c", {"x = (a * b - c)", "x = (a / b) + c"}),
        ("x = 7, 0.5, True", {"x = 8, 0.5, True", "x = 7, 1.5, True", "x = 7, 0.5, False"}),
        ("if a:\n    b()", {"if (not (a)):", "pass"}),
        ("if not a:\n    raise B", {"if (a):", "pass"}),
        ("def f(a: int = 1) -> A[2]:\n    return a", {"return None"}),
        ("def f():\n    '''told'''\n    log.info('x', y=1)\n    raise B(f'{a + 1}')", {"pass"}),
        ("é = a[0]; self.x = é", {"é = a[1]; self.x = é", "é = a[0]; pass"}),
        ("x += f()", {"pass"}),
    ],
)
def test_faults_are_those_that_a_person_makes(text: str, became: set[str]) -> None:
    assert {one.became for one in mutants("file.py", text)} == became


@pytest.mark.parametrize("file", NEAR)
def test_a_mutant_differs_from_its_file_in_one_place_and_still_is_python(file: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    found = mutants(file, text)
    assert len(found) > 10
    assert len({one.row for one in found}) == len(found)
    for one in found[::5]:
        assert one.text != text
        ast.parse(one.text)


def test_every_hot_file_has_its_near_tests() -> None:
    assert [path for file in NEAR for path in [file, *near_tests(file)] if not Path(ROOT / path).is_file()] == []


def test_every_kept_row_is_of_a_fault_that_can_be_planted() -> None:
    there = {one.row for file in NEAR for one in mutants(file, (ROOT / file).read_text(encoding="utf-8"))}
    assert kept_rows() - there == set()
