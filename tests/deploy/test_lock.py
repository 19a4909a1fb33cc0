"""The lock is of the versions that CI runs: `make lock` after a change of constraints.txt."""

import re

from tests.conftest import ROOT

PIN = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)", re.MULTILINE)


def pins(name: str) -> dict[str, str]:
    found = PIN.findall((ROOT / name).read_text())
    return {package.lower().replace("_", "-"): version for package, version in found}


def test_every_version_of_the_lock_is_that_of_the_constraints() -> None:
    locked, wanted = pins("requirements.lock"), pins("constraints.txt")
    assert len(locked) > 60
    assert {name: version for name, version in locked.items() if wanted.get(name, version) != version} == {}


def test_what_is_locked_and_not_constrained_is_of_other_platforms_alone() -> None:
    """An empty constraints.txt constrains nothing, and contradicts nothing."""
    assert set(pins("requirements.lock")) - set(pins("constraints.txt")) <= {"async-timeout", "colorama", "setuptools"}


def test_what_only_torch_needs_is_all_that_the_lock_leaves_out() -> None:
    missing = set(pins("constraints.txt")) - set(pins("requirements.lock"))
    assert missing <= {"torch", "fsspec", "jinja2", "markupsafe", "mpmath", "networkx", "psutil", "sympy"}


def test_every_version_of_the_lock_has_its_hashes() -> None:
    for block in re.split(r"\n(?=\S)", (ROOT / "requirements.lock").read_text().strip()):
        assert block.startswith("#") or "--hash=sha256:" in block, block
