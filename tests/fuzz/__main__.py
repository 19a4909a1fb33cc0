"""The long form: guided by coverage where atheris is installed, by chance where it is not."""

import hashlib
import importlib.util
import pickletools
import random
import sys
import time
from pathlib import Path
from types import FunctionType
from typing import Annotated

import typer

from consumer.decoding import alert, compiler, container, layout, packet, projection, schema, stamps
from tests.fuzz.targets import CORPUS, TARGETS, damaged, seeds, steps, timed
from tests.fuzz.targets import corpus as kept_of
from train.data import safe_pickle

READERS = (alert, container, layout, packet, compiler, projection, schema, stamps, safe_pickle)
KEPT_BYTES = 6_000
"""Larger inputs stay out of the tree."""
GUIDED = importlib.util.find_spec("atheris") is not None


def main(
    target: Annotated[str, typer.Argument(help="packet, schema, stamp, image or pickle.")],
    inputs: Annotated[int, typer.Option(help="How many.")] = 1_000_000,
    seed: Annotated[int, typer.Option(help="Of the damage.")] = 1,
    corpus: Annotated[Path, typer.Option(help="Inputs that reached something new.")] = Path("build/corpus"),
    keep: Annotated[bool, typer.Option("--keep", help="Feed nothing: put the fewest of them in the tree.")] = False,
) -> None:
    """Feed `inputs` damaged inputs to a target; exit 1 at the first that crashes, hangs past a second, or lies."""
    folder = corpus / target
    folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(seeds(target)):
        (folder / f"seed-{number}").write_bytes(data)
    if keep:
        _keep(target, folder)
    elif GUIDED:
        _guided(target, [f"-runs={inputs}", f"-seed={seed}", str(folder), str(CORPUS / target)])
    else:
        _by_chance(target, inputs, seed, folder)


def _keep(target: str, folder: Path) -> None:
    """Add to the tree's corpus, the smallest first, what goes from one line to another as none before did."""
    kept = CORPUS / target
    kept.mkdir(parents=True, exist_ok=True)
    candidates = sorted(folder.iterdir(), key=lambda path: path.stat().st_size)
    known = {step for data in kept_of(target) for step in steps(TARGETS[target], data)}
    for data in (path.read_bytes() for path in candidates if path.stat().st_size < KEPT_BYTES):
        if new := steps(TARGETS[target], data) - known:
            known |= new
            (kept / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    print(f"{target}: {len(list(kept.iterdir()))} inputs, {len(known)} steps from line to line")  # noqa: T201


def _guided(target: str, words: list[str]) -> None:
    import atheris

    options = ["-timeout=5", "-rss_limit_mb=4096", "-max_len=20000"]
    instrumented = [*READERS, pickletools] if target == "pickle" else READERS
    for module in instrumented:  # not all: torch alone takes minutes
        for function in vars(module).values():
            if isinstance(function, FunctionType) and function.__module__ == module.__name__:
                atheris.instrument_func(function)
    atheris.Setup([sys.argv[0], *options, *words], lambda data: timed(TARGETS[target], data))
    atheris.Fuzz()  # does not come back


def _by_chance(target: str, inputs: int, seed: int, folder: Path) -> None:
    chance, begun = random.Random(seed), time.monotonic()
    whole = seeds(target)
    for _ in range(inputs):
        data = damaged(chance.choice(whole), chance)
        try:
            timed(TARGETS[target], data)
        except BaseException:
            (folder / "crash").write_bytes(data)
            raise
    print(f"{target}: {inputs} inputs in {time.monotonic() - begun:.0f} s, nothing found")  # noqa: T201


if __name__ == "__main__":
    typer.run(main)
