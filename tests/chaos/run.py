"""One scenario, from servers to verdict."""

import random
from contextlib import nullcontext
from pathlib import Path

from tests.chaos.bucket import bucket
from tests.chaos.ground import ground
from tests.chaos.night import simulated_night
from tests.chaos.scenarios import Scenario
from tests.chaos.verdict import Verdict, judge, undisturbed

PARTITIONS = 4


def run(scenario: Scenario, checkpoint: Path, folder: Path, alerts: int, seed: int) -> Verdict:
    """Do the deed while a night of about `alerts` goes through; drain it; compare with an undisturbed run."""
    folder.mkdir(parents=True, exist_ok=True)
    night = simulated_night(max(int(alerts * scenario.share), 100), seed, PARTITIONS)
    reference = undisturbed(night, checkpoint, folder)
    storage = bucket() if scenario.durable else nullcontext("memory://tansu/")
    with storage as kept, ground(folder, checkpoint, night, kept, **scenario.settings) as made:
        scenario.deed(made, random.Random(seed))
        made.drain()
        return judge(scenario.name, made, reference)
