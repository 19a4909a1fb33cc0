"""One scenario, from servers to verdict."""

import random
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.chaos.bucket import bucket
from tests.chaos.ground import ground
from tests.chaos.night import Sent, simulated_night
from tests.chaos.scenarios import Scenario
from tests.chaos.verdict import Undisturbed, Verdict, judge, undisturbed
from tests.support.cluster import cluster

PARTITIONS = 4


def run(scenario: Scenario, checkpoint: Path, folder: Path, alerts: int, seed: int) -> Verdict:
    """Do the deed while a night of about `alerts` goes through; drain it; compare with an undisturbed run."""
    folder.mkdir(parents=True, exist_ok=True)
    night, reference = night_of(alerts, seed), reference_of(alerts, seed, checkpoint)
    storage = bucket() if scenario.durable else nullcontext("memory://tansu/")
    nodes = cluster(folder / "cluster", replicas=scenario.replicas) if scenario.cluster else nullcontext(None)
    with (
        storage as kept,
        nodes as several,
        ground(folder, checkpoint, night, kept, several, **scenario.settings) as made,
    ):
        scenario.deed(made, random.Random(seed))
        made.drain()
        return judge(scenario.name, made, reference)


@cache
def night_of(alerts: int, seed: int) -> list[Sent]:
    return simulated_night(alerts, seed, PARTITIONS)


@cache
def reference_of(alerts: int, seed: int, checkpoint: Path) -> Undisturbed:
    """The same for every scenario of one night: worked out by the first that asks."""
    with TemporaryDirectory(prefix="estampa-chaos-") as folder:
        return undisturbed(night_of(alerts, seed), checkpoint, Path(folder))
