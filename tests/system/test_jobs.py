"""`estampa replay --jobs`: several processes give what one gives."""

import gc
import json
import os
import signal
import struct
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import fastavro
import pytest
from rich.console import Console

from consumer.cli.jobs import in_processes
from consumer.cli.replay import Replay, replay
from consumer.configuration.load import load_settings
from consumer.decode_stage import Shard
from consumer.errors import JobError, OutputError, StoreError
from tests.support.line import answer, environment, estampa, last_by_candid, payloads, start_held, wait_until, write_tar
from tests.support.packets import night

pytestmark = pytest.mark.integration

NIGHT = payloads(night(objects=80, visits=12))
PACKETS = [*NIGHT[:500], b"no packet", *NIGHT[:40], b"", *NIGHT[500:], b"nor this"]


def results(folder: Path) -> dict[str, Any]:
    """Records, dead letters and account of the replay into `folder`."""
    records = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    with (folder / "dead.avro").open("rb") as file:
        dead = sorted((letter["position"], letter["reason"]) for letter in fastavro.reader(file))
    answers = {candid: answer(record) for candid, record in last_by_candid(records).items()}
    assert len(answers) == len(records)
    return {"answers": answers, "dead": dead}


def test_two_processes_stopped_and_resumed_give_what_one_gives(checkpoint_folder: Path, tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "night.tar", PACKETS)
    settings = load_settings(overrides={"model": {"checkpoint": str(checkpoint_folder)}})
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    alone.mkdir()
    shared.mkdir()
    quiet = Console(quiet=True)
    asked = Replay([archive], alone / "out.jsonl", alone / "dead.avro", tmp_path / "state1")
    counts, ended = replay(settings, asked, quiet)
    assert ended

    env = environment(checkpoint_folder, output__part_messages="16")
    words = ["replay", str(archive), "--jobs", "2", "--batch-size", "8", "--state-dir", str(tmp_path / "state2")]
    words += ["--out", str(shared / "out.jsonl"), "--dead-letters", str(shared / "dead.avro")]
    process = start_held(env, 10, *words)
    parts = [shared / "out.jsonl.parts" / f"{one}-of-2" / "000000.jsonl" for one in range(2)]
    wait_until(lambda: all(part.exists() for part in parts), 60, "a part of each")
    process.send_signal(signal.SIGTERM)
    shown, log = process.communicate(timeout=30)
    assert process.returncode == 0, log
    assert "--resume" in shown
    otherwise = Replay([archive], shared / "out.jsonl", shared / "dead.avro", tmp_path / "state2", resume=True)
    with pytest.raises(OutputError, match="unfinished replay of --jobs 2: go on with as many"):
        replay(settings, otherwise, quiet)

    done = estampa(env, *words, "--resume", "--summary", str(tmp_path / "summary.json"))
    assert done.returncode == 0, done.stderr
    assert results(shared) == results(alone)
    summary = json.loads((tmp_path / "summary.json").read_text())
    told = ("read", "classified", "duplicates", "dead_lettered", "classes")
    assert {name: summary[name] for name in told} == {name: counts[name] for name in told}
    assert summary["read"] == len(PACKETS)
    assert not list(shared.glob("*.parts"))


def refused(share: Shard) -> None:
    if share.index:
        raise StoreError("store refuses this client")
    time.sleep(3_600)  # until the other's failure ends it


def killed(share: Shard) -> int:
    if share.index:
        os.kill(os.getpid(), signal.SIGKILL)
    return share.count


def killed_while_it_sends(share: Shard) -> int:
    if share.index:
        [pipe] = [one for one in gc.get_objects() if isinstance(one, Connection) and one.writable]
        os.write(pipe.fileno(), struct.pack("!i", 100) + b"the first of a hundred bytes")
    return killed(share)


@pytest.mark.parametrize(
    ("work", "said"),
    [
        (refused, "store refuses this client"),
        (killed, "job 1 ended with exit code -9"),
        (killed_while_it_sends, "job 1 ended with exit code -9"),
    ],
)
def test_a_process_that_fails_ends_the_others_and_its_word_is_passed_on(work: Any, said: str) -> None:
    with pytest.raises((StoreError, JobError), match=said):
        in_processes(work, 2)
