"""The long form: guided by coverage where atheris is installed, by chance where it is not."""

import importlib.util
import random
import sys
import time
from pathlib import Path
from types import FunctionType
from typing import Annotated

import typer

from consumer import alert, container, packet, program, projection, stamps
from tests.fuzz.targets import TARGETS, damaged, seeds, timed

READERS = (alert, container, packet, program, projection, stamps)
GUIDED = importlib.util.find_spec("atheris") is not None


def main(
    target: Annotated[str, typer.Argument(help="packet, stamp or image.")],
    inputs: Annotated[int, typer.Option(help="How many.")] = 1_000_000,
    seed: Annotated[int, typer.Option(help="Of the damage.")] = 1,
    corpus: Annotated[Path, typer.Option(help="Inputs that reached something new.")] = Path("build/corpus"),
) -> None:
    """Feed `inputs` damaged inputs to a target; exit 1 at the first that crashes, hangs past a second, or lies."""
    folder = corpus / target
    folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(seeds(target)):
        (folder / f"seed-{number}").write_bytes(data)
    if GUIDED:
        _guided(target, inputs, seed, folder)
    print("atheris is not installed (pip install atheris): inputs are drawn by chance, without coverage")  # noqa: T201
    _by_chance(target, inputs, seed, folder)


def _guided(target: str, inputs: int, seed: int, folder: Path) -> None:
    import atheris

    options = [f"-runs={inputs}", f"-seed={seed}", "-timeout=5", "-rss_limit_mb=4096", "-max_len=20000"]
    for module in READERS:  # not all: torch alone takes minutes
        for function in vars(module).values():
            if isinstance(function, FunctionType) and function.__module__ == module.__name__:
                atheris.instrument_func(function)
    atheris.Setup([sys.argv[0], *options, str(folder)], lambda data: timed(TARGETS[target], data))
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
