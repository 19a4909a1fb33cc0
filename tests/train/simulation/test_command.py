"""The command line: clear errors with exit code 2, and nights that reach a broker at the pace asked for."""

import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from confluent_kafka import Consumer
from typer.testing import CliRunner

from train.__main__ import app
from train.simulation.nights.sink import read_pace
from train.simulation.sources.source import LABELS

runner = CliRunner()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--faults", "typo=0.1"], "unknown fault 'typo' in --faults: choose from duplicates"),
        (["--faults", "late=2"], "the rate of 'late' in --faults is 2: it is a share, from 0 to 1"),
        (["--faults", "late=x"], "the rate of 'late' in --faults is 'x': write e.g. late=0.02"),
        (["--mix", "quasar=1"], "unknown class 'quasar' in --mix: choose from AGN"),
        (["--mix", "SN=0"], "--mix 'SN=0' gives no alerts"),
        (["--schema", "1.0"], "no schema '1.0' to write: choose one of 4.02, 3.3"),
        (["--rate", "5", "--visit", "3/1s"], "--rate and --visit exclude each other"),
        (["--visit", "3"], "--visit '3' is not N/SECONDSs: write e.g. 10000/39s"),
        (["--rate", "0"], "--rate 0.0 is no rate"),
    ],
)
def test_a_bad_argument_gets_one_line_and_exit_code_2(tmp_path: Path, arguments: list[str], message: str) -> None:
    result = runner.invoke(app, ["simulate", "night", "--out", str(tmp_path / "n.tar.gz"), *arguments])
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_taken_name_and_a_missing_directory_are_refused(tmp_path: Path) -> None:
    (tmp_path / "n.tar.gz").touch()
    for out, message in ((tmp_path / "n.tar.gz", "exists"), (tmp_path / "no" / "n.tar.gz", "does not exist; make it")):
        result = runner.invoke(app, ["simulate", "night", "--out", str(out)])
        assert result.exit_code == 2
        assert message in result.stderr


def test_a_night_too_large_for_the_sky_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.simulation.nights.plan.MOST_KEYS", dict.fromkeys(LABELS, 8192))
    out = str(tmp_path / "n.tar.gz")
    result = runner.invoke(app, ["simulate", "night", "--alerts", "100000", "--processes", "1", "--out", out])
    assert result.exit_code == 2
    assert "alerts of class" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_truth_lies_beside_the_night(tmp_path: Path) -> None:
    out = tmp_path / "ztf_public_20260101.tar.gz"
    arguments = ["--alerts", "20", "--processes", "1", "--schema", "3.3"]
    result = runner.invoke(app, ["simulate", "night", "--out", str(out), *arguments])
    assert result.exit_code == 0, result.stderr
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["ztf_public_20260101.tar.gz", "ztf_public_20260101.truth.parquet"]
    assert pq.read_metadata(tmp_path / names[1]).num_rows == 20


def test_an_unreachable_broker_is_one_line(tmp_path: Path) -> None:
    truth = tmp_path / "t.parquet"
    arguments = ["--out", "kafka://127.0.0.1:1", "--alerts", "2", "--truth", str(truth)]
    result = runner.invoke(app, ["simulate", "night", *arguments])
    assert result.exit_code == 2
    assert "cannot create topic ztf_20260101_programid1 at 127.0.0.1:1" in result.stderr
    assert not truth.exists()


@pytest.mark.integration
def test_a_night_reaches_its_topic_at_its_rate(broker: str, tmp_path: Path) -> None:
    truth = tmp_path / "t.parquet"
    arguments = ["--alerts", "60", "--date", "2026-02-03", "--rate", "40", "--processes", "1", "--truth", str(truth)]
    start = time.monotonic()
    result = runner.invoke(app, ["simulate", "night", "--out", f"kafka://{broker}", *arguments])
    assert result.exit_code == 0, result.stderr
    assert time.monotonic() - start > 59 / 40
    assert len(_drained(broker, "ztf_20260203_programid1", 60)) == pq.read_metadata(truth).num_rows == 60


def _drained(broker: str, topic: str, count: int) -> list[bytes]:
    settings = {"bootstrap.servers": broker, "group.id": topic, "auto.offset.reset": "earliest"}
    consumer = Consumer(settings | {"session.timeout.ms": 2000})
    consumer.subscribe([topic])
    payloads: list[bytes] = []
    deadline = time.monotonic() + 30
    while len(payloads) < count and time.monotonic() < deadline:
        message = consumer.poll(1.0)
        if message is not None and message.error() is None:
            payloads.append(message.value() or b"")
    consumer.close()
    return payloads


def test_a_visit_is_a_burst_and_a_rest() -> None:
    visits = read_pace(None, "3/10s")
    visits.start(100.0)
    waits = []
    for _ in range(7):
        waits.append(visits.wait(100.0))
        visits.sent()
    assert waits == [0.0, 0.0, 0.0, 10.0, 10.0, 10.0, 20.0]


def test_a_truth_table_that_is_there_or_is_the_night_itself_is_refused(tmp_path: Path) -> None:
    truth, out = tmp_path / "truth.parquet", tmp_path / "night.tar"
    truth.write_text("mine")
    night = ["simulate", "night", "--alerts", "2", "--date", "2026-01-01", "--out", str(out)]
    for path, said in ((truth, "remove it, or give another --truth"), (out, "--out and --truth are both")):
        done = CliRunner().invoke(app, [*night, "--truth", str(path)])
        assert done.exit_code == 2
        assert said in done.stderr.replace("\n", " ")
    assert truth.read_text() == "mine"
    assert not out.exists()
