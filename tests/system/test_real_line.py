"""The line on real alerts, where there are any."""

import json
from pathlib import Path

import pytest

from tests.support.line import (
    answer,
    classifications,
    consuming,
    environment,
    estampa,
    estampa_here,
    new_topics,
    produce,
    read_topic,
    unique,
)

pytestmark = pytest.mark.integration

READ = {"labelled.tar.gz": 662, "unlabelled.tar.gz": 380, "containers": 16}


@pytest.mark.parametrize("name", [*READ, "quirks", "."])
def test_replay_of_every_archive_reconciles(
    name: str, real_alerts: Path, store_url: str, checkpoint_folder: Path, tmp_path: Path
) -> None:
    env = environment(checkpoint_folder, store__url=store_url)
    words = ("--summary", str(tmp_path / "summary.json"), "--out", str(tmp_path / "out.parquet"))
    done = estampa_here(env, "replay", str(real_alerts / name), *words)
    nothing = name == "quirks"  # of all its packets none is a whole ZTF alert
    assert done.returncode == int(nothing), done.stderr
    assert ("none of 17 alerts was classified" in done.stderr) == nothing
    summary = json.loads((tmp_path / "summary.json").read_text())
    dead = sum(summary["dead_lettered"].values())
    assert summary["read"] == summary["classified"] + summary["duplicates"] + dead
    assert summary["classified"] == READ.get(name, 0 if nothing else sum(READ.values()))


def test_real_alerts_live_and_replayed_give_the_same_classifications(
    real_alerts: Path, real_packets: list[bytes], broker: str, store_url: str, checkpoint_folder: Path, tmp_path: Path
) -> None:
    archives = [str(real_alerts / f"{name}.tar.gz") for name in ("labelled", "unlabelled")]
    out = tmp_path / "out.jsonl"
    assert estampa_here(environment(checkpoint_folder), "replay", *archives, "--out", str(out)).returncode == 0
    from_file = {record["candid"]: answer(record) for record in map(json.loads, out.read_text().splitlines())}

    topics = new_topics(broker)
    produce(broker, topics["topic"], real_packets)
    env = consuming(checkpoint_folder, broker, store_url, topics, unique("g"), batch__size="64")
    assert estampa(env, "consume", "--exit-at-end").returncode == 0
    live = classifications(read_topic(broker, topics["output"]))
    assert len(live) == 1042
    assert {record["candid"]: answer(record) for record in live} == from_file
