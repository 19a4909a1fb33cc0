"""Faults in real processes, in short: three kills and an emptied store always, every scenario in the slow tier."""

import json
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import fastavro
import pyarrow.parquet as pq
import pytest

from tests.chaos.bucket import INSTALLED
from tests.chaos.ground import Ground
from tests.chaos.night import simulated_night
from tests.chaos.run import run
from tests.chaos.scenarios import SCENARIOS, Scenario, kill_at
from tests.chaos.verdict import Verdict, undisturbed, wrong
from tests.support.line import environment, estampa_here, payloads, write_tar
from tests.support.packets import night

pytestmark = pytest.mark.integration

SEED = 7


def killed_at_the_stages_that_matter(ground: Ground, chance: random.Random) -> None:
    for stage in ("between_state_and_publish", "in_the_middle_of_publishing", "between_publish_and_commit"):
        kill_at(ground, stage, chance.randrange(1, 4))
    ground.join()
    ground.recover()


def check(verdict: Verdict) -> None:
    assert (verdict.lost, verdict.wrong) == (0, 0), verdict
    assert verdict.state, "state differs from an undisturbed run"
    assert verdict.struck_at[0] < verdict.alerts, "the first fault came when all was done"


@pytest.mark.parametrize(
    "scenario", [Scenario(killed_at_the_stages_that_matter), SCENARIOS["store_back_empty"]], ids=lambda one: one.name
)
@pytest.mark.timeout(300)
def test_nothing_is_lost_or_wrong(scenario: Scenario, checkpoint_folder: Path, tmp_path: Path) -> None:
    check(run(scenario, checkpoint_folder, tmp_path / "ground", alerts=400, seed=SEED))


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=list(SCENARIOS))
@pytest.mark.timeout(900)
def test_nothing_is_lost_or_wrong_in_any_scenario(scenario: Scenario, checkpoint_folder: Path, tmp_path: Path) -> None:
    if scenario.durable and not INSTALLED:
        pytest.skip("moto is not installed: pip install 'moto[server]'")
    check(run(scenario, checkpoint_folder, tmp_path / "ground", alerts=1_500, seed=SEED))


def test_a_night_is_the_same_for_the_same_seed_and_has_what_it_should() -> None:
    one, other = simulated_night(400, SEED, 4), simulated_night(400, SEED, 4)
    assert [sent.payload for sent in one] == [sent.payload for sent in other]
    candids = [sent.packet.candid for sent in one if sent.packet]
    assert len(set(candids)) == 400
    assert len(candids) > 405  # some come again
    assert candids != sorted(candids)  # some come late
    assert sum(sent.packet is None for sent in one) == 4


def test_a_wrong_answer_is_seen(checkpoint_folder: Path, tmp_path: Path) -> None:
    """The judge of the scenarios is itself put to the test: what it passes, and what it must not."""
    sent = simulated_night(120, SEED, 2)
    reference = undisturbed(sent, checkpoint_folder, tmp_path)
    records = [json.loads(line) for line in (tmp_path / "undisturbed.jsonl").read_text().splitlines()]
    assert list(wrong(records, sent, reference)) == []
    other = {name: value / 2 for name, value in records[5]["sequence_probabilities"].items()}
    records[5] = records[5] | {"sequence_probabilities": other}
    records[9] = records[9] | {"alert_probabilities": other}
    assert list(wrong(records, sent, reference)) == [records[5]["candid"], records[9]["candid"]]
    good = Verdict("", 1, 120, 120, 0, 0, 0, 3, True, [], [], [])
    assert good.good
    assert not any(replace(good, **bad).good for bad in ({"lost": 1}, {"wrong": 1}, {"state": False}))


FULL_DISK = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))
from consumer.__main__ import main
main()
"""


@pytest.mark.parametrize("name", ["out.parquet", "out.avro", "out.jsonl"])
def test_a_replay_whose_disk_is_full_says_so_and_goes_on_once_there_is_room(
    name: str, store_url: str, checkpoint_folder: Path, tmp_path: Path
) -> None:
    packets = night(objects=60, visits=8)
    archive, out = write_tar(tmp_path / "night.tar", payloads(packets)), tmp_path / name
    env = environment(checkpoint_folder, store__url=store_url, output__checkpoint_messages="200", batch__size="50")
    words = ("replay", str(archive), "--out", str(out))
    full = (sys.executable, "-c", FULL_DISK.format(size=20_000), *words)
    done = subprocess.run(full, env=env, text=True, capture_output=True, timeout=240, check=False)
    assert done.returncode == 1, done.stderr
    assert "File too large; fix that" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not out.exists()
    again = estampa_here(env, *words, "--resume")
    assert again.returncode == 0, again.stderr
    assert sorted(candids(out)) == sorted(packet.candid for packet in packets)


def candids(path: Path) -> list[int]:
    if path.suffix == ".parquet":
        return [int(one) for one in pq.read_table(path)["candid"].to_pylist()]
    if path.suffix == ".jsonl":
        return [json.loads(line)["candid"] for line in path.read_text().splitlines()]
    with path.open("rb") as file:
        return [record["candid"] for record in fastavro.reader(file)]
