"""The long form: `python -m tests.chaos`. Ends with a table, and exits 1 if anything was lost or wrong."""

import json
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from model_zoo.checkpoint import save
from tests.chaos.bucket import INSTALLED
from tests.chaos.run import run
from tests.chaos.scenarios import SCENARIOS
from tests.chaos.verdict import Verdict
from tests.conftest import random_checkpoint

COLUMNS = (
    "scenario",
    "faults",
    "alerts",
    "classified",
    "dead letters",
    "lost",
    "wrong",
    "repeated",
    "state",
    "s to recover",
)
COUNTED = ("faults", "alerts", "classified", "dead_letters", "lost", "wrong", "repeated")


def main(
    alerts: Annotated[int, typer.Option(help="Alerts of the night, of each scenario.")] = 20_000,
    seed: Annotated[int, typer.Option(help="Of nights and faults.")] = 1,
    only: Annotated[list[str] | None, typer.Option(help="This scenario; repeat it.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write the verdicts to this JSON file.")] = None,
) -> None:
    """Inject each fault into a night that goes through real processes, and compare with an undisturbed run."""
    verdicts = []
    with tempfile.TemporaryDirectory(prefix="estampa-chaos-") as scratch:
        checkpoint = Path(scratch) / "checkpoint"
        save(random_checkpoint(), checkpoint)
        for name in only or SCENARIOS:
            if SCENARIOS[name].durable and not INSTALLED:
                print(f"{name}: left out, moto is not installed: pip install 'moto[server]'", file=sys.stderr)  # noqa: T201
                continue
            started = time.monotonic()
            verdicts.append(run(SCENARIOS[name], checkpoint, Path(scratch) / name, alerts, seed))
            print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr)  # noqa: T201
    Console(width=160).print(table(verdicts))
    if report:
        facts = {"alerts": alerts, "seed": seed, "python": platform.python_version()}
        report.write_text(json.dumps(facts | {"scenarios": [one.as_dict() for one in verdicts]}, indent=2) + "\n")
    sys.exit(0 if all(one.good for one in verdicts) else 1)


def total(verdicts: list[Verdict]) -> Verdict:
    """All scenarios as one: counts in sum, the slowest recovery, the state only where it is the same in all."""
    sums = {name: sum(getattr(one, name) for one in verdicts) for name in COUNTED}
    recovery = [seconds for one in verdicts for seconds in one.recovery_s]
    return Verdict("all", **sums, state=all(one.state for one in verdicts), struck_at=[], recovery_s=recovery, exits=[])


def table(verdicts: list[Verdict]) -> Table:
    made = Table(title="chaos", title_justify="left")
    for name in COLUMNS:
        made.add_column(name, justify="left" if name == "scenario" else "right")
    for one in [*verdicts, *([total(verdicts)] if len(verdicts) > 1 else [])]:
        numbers = (one.faults, one.alerts, one.classified, one.dead_letters, one.lost, one.wrong, one.repeated)
        recovery = f"{max(one.recovery_s):.1f}" if one.recovery_s else ""
        made.add_row(one.scenario, *map(str, numbers), "same" if one.state else "DIFFERENT", recovery)
    return made


if __name__ == "__main__":
    typer.run(main)
