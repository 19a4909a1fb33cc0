"""README is true: its commands run, its files exist, its figures are those of the last benchmark."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line.partition("#")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.strip()
]
MODULES = {"estampa": "consumer", "estampa-train": "train"}


def test_readme_has_the_two_commands() -> None:
    assert COMMANDS[:2] == ["make demo", "make test"]


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("make ")])
def test_a_make_command_is_a_target_that_ci_runs(command: str) -> None:
    target = command.split()[1]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    assert f"make {target}" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", [command for command in COMMANDS if not command.startswith("make ")])
def test_any_other_command_runs(command: str) -> None:
    program, *words = shlex.split(command)
    done = subprocess.run([sys.executable, "-m", MODULES[program], *words], capture_output=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr.decode()


PAGES = sorted(path for path in ROOT.rglob("*.md") if not {".venv", "build", ".pytest_cache"} & set(path.parts))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_links_to_exists(page: Path) -> None:
    found = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    links = {link.partition("#")[0] for link in found if "://" not in link} - {""}
    assert {link for link in links if not (page.parent / link).exists()} == set()


def test_the_tree_names_the_folders_there_are() -> None:
    tree = README.partition("## The tree")[2].partition("```")[2].partition("```")[0]
    named = {line.split()[0].rstrip("/") for line in tree.splitlines() if line.strip()}
    there = {path.name for path in ROOT.iterdir() if path.is_dir() and (path / "__init__.py").exists()} | {"deploy"}
    assert named == there


def test_the_figures_are_those_of_the_last_benchmark() -> None:
    rows = json.loads((ROOT / "tests" / "bench" / "results.json").read_text(encoding="utf-8"))["rows"]
    for row in rows:
        assert f"{row['value']:,.4g} {row['unit']}" in README, row["what"]


def test_no_text_of_ours_names_a_place_on_somebody_s_machine() -> None:
    texts = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *Path(ROOT / "deploy").rglob("*.md")]
    found = [text.name for text in texts if re.search(r"/(home|root|work|Users)/", text.read_text(encoding="utf-8"))]
    assert found == []
