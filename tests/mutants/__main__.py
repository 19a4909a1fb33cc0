"""Plant faults in copies of the tree, run the tests near each, and compare what survives with the kept table."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Annotated, Final

import typer

from tests.conftest import ROOT
from tests.mutants.near import NEAR, near_tests
from tests.mutants.planting import Mutant, mutants

TABLE: Final = Path(__file__).with_name("SURVIVORS.md")
PARTS: Final = ("consumer", "model_zoo", "train", "schemas", "tests")
TEST_S, TRIAL_S = 120, 300
"""A fault may make a test, or a compiled loop that nothing interrupts, run for ever: that is seen, too."""


def main(
    count: Annotated[int, typer.Option(help="How many faults, drawn by --seed.")] = 40,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 1,
    only: Annotated[str, typer.Option(help="Part of a file's name: faults of such files alone.")] = "",
    jobs: Annotated[int, typer.Option(help="Side by side, a copy of the tree each.")] = 2,
    every: Annotated[bool, typer.Option("--all", help="All faults there are: hours.")] = False,
) -> None:
    """Exit 1 where a fault survives that SURVIVORS.md does not know, 2 where tests fail without one."""
    there = [one for file in NEAR if only in file for one in mutants(file, (ROOT / file).read_text(encoding="utf-8"))]
    chosen = sorted(there, key=lambda one: hashlib.sha256(f"{seed} {one.row}".encode()).digest())
    chosen = sorted(chosen if every else chosen[:count], key=lambda one: one.file)
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copies = [_copied(Path(folder) / str(number)) for number in range(jobs)]
        _check_sound(copies, sorted({test for one in chosen for test in near_tests(one.file)}))
        survivors = _tried(chosen, copies)
    known = kept_rows()
    new = [one for one in survivors if one.row not in known]
    _say(f"{len(chosen)} of {len(there)} faults: {len(chosen) - len(survivors)} seen, {len(survivors)} survived")
    _say(*(f"NEW {one.row}" for one in new))
    if new:
        _say(f"test these, or add them to {TABLE.relative_to(ROOT)} with the reason")
    raise typer.Exit(code=1 if new else 0)


def kept_rows() -> set[str]:
    """The rows of the kept table, each up to its reason."""
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    return {line[: line.rindex("` | ") + 3] for line in lines if line.startswith("| ") and "` | " in line}


def _copied(copy: Path) -> Path:
    for part in PARTS:
        shutil.copytree(ROOT / part, copy / part)
    for file in ROOT.iterdir():
        if file.is_file():
            shutil.copy2(file, copy)
    return copy


def _check_sound(copies: Sequence[Path], tests: Sequence[str]) -> None:
    """See that the tests pass as things are; each copy compiles its kernels here."""
    with ThreadPoolExecutor(len(copies)) as pool:
        shares = [pool.submit(_passes, copy, tests[place :: len(copies)]) for place, copy in enumerate(copies)]
        if not all(share.result() for share in shares):
            _say("tests fail without any fault: mend them first")
            raise typer.Exit(code=2)


def _tried(chosen: Sequence[Mutant], copies: Iterable[Path]) -> list[Mutant]:
    """Those that no near test saw."""
    free: SimpleQueue[Path] = SimpleQueue()
    for copy in copies:
        free.put(copy)

    def survives(one: Mutant) -> bool:
        copy = free.get()
        place = copy / one.file
        place.write_text(one.text, encoding="utf-8")
        survived = _passes(copy, near_tests(one.file))
        shutil.copy2(ROOT / one.file, place)  # with its time, by which numba knows what it compiled
        free.put(copy)
        _say(f"{'SURVIVED' if survived else 'seen    '} {one.row}")
        return survived

    with ThreadPoolExecutor(free.qsize()) as pool:
        return [one for one, survived in zip(chosen, pool.map(survives, chosen), strict=True) if survived]


def _passes(copy: Path, tests: Sequence[str]) -> bool:
    """Whether the tests pass in a copy of the tree. One that does not end has not passed."""
    env = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    words = ["-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", "not slow"]
    command = [sys.executable, *words, f"--timeout={TEST_S}", *tests]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    running = subprocess.Popen(command, cwd=copy, env=env, start_new_session=True, **quiet)  # type: ignore[call-overload]
    try:
        return bool(running.wait(TRIAL_S * (1 + len(tests) // 10)) == 0)
    except subprocess.TimeoutExpired:
        return False
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()


def _say(*lines: str) -> None:
    for line in lines:
        print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    typer.run(main)
