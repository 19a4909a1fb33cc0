"""The long form: guided by coverage where atheris is installed, by chance where it is not."""

import importlib.util
import pickletools
import random
import sys
import time
from pathlib import Path
from types import FunctionType
from typing import Annotated

import typer

from consumer import alert, container, packet, program, projection, stamps
from tests.fuzz.targets import CORPUS, TARGETS, damaged, seeds, timed
from train import pickles

READERS = (alert, container, packet, program, projection, stamps, pickles)
GUIDED = importlib.util.find_spec("atheris") is not None


def main(
    target: Annotated[str, typer.Argument(help="packet, stamp, image or pickle.")],
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
    kept = CORPUS / target
    kept.mkdir(parents=True, exist_ok=True)
    if GUIDED and keep:
        _guided(target, ["-merge=1", str(kept), str(folder)])
    if GUIDED:
        _guided(target, [f"-runs={inputs}", f"-seed={seed}", str(folder), str(kept)])
    print("atheris is not installed (pip install atheris): inputs are drawn by chance, without coverage")  # noqa: T201
    _by_chance(target, inputs, seed, folder)


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
