"""Replays and what they leave: nothing is overwritten unasked, and what was read is had whatever happens after."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.line import environment, estampa_here, payloads, write_tar
from tests.support.packets import night

PACKETS = payloads(night(objects=2, visits=2))

pytestmark = pytest.mark.integration


@pytest.fixture
def env(checkpoint_folder: Path, store_url: str) -> dict[str, str]:
    return environment(checkpoint_folder, store__url=store_url)


def test_an_archive_is_never_its_own_output(env: dict[str, str], tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "night.avro", PACKETS)
    before = archive.read_bytes()
    done = estampa_here(env, "replay", str(archive), "--out", str(archive))
    assert done.returncode == 1
    assert "is an input" in done.stderr.splitlines()[-1]
    assert archive.read_bytes() == before


def test_a_finished_result_is_replaced_only_where_asked(env: dict[str, str], tmp_path: Path) -> None:
    archive, out = write_tar(tmp_path / "night.tar", PACKETS), tmp_path / "out.jsonl"
    words = ("replay", str(archive), "--out", str(out))
    assert estampa_here(env, *words).returncode == 0
    first = out.read_bytes()
    done = estampa_here(env, *words)
    assert done.returncode == 1
    assert "exists; add --overwrite to replace it" in done.stderr.splitlines()[-1]
    assert out.read_bytes() == first
    out.write_text("old")
    assert estampa_here(env, *words, "--overwrite").returncode == 0
    assert len(out.read_text().splitlines()) == len(PACKETS)


def test_a_damaged_archive_yields_what_was_read_and_fails(env: dict[str, str], tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "night.tar", PACKETS)
    archive.write_bytes(archive.read_bytes()[:-12_000])
    out, summary = tmp_path / "out.jsonl", tmp_path / "summary.json"
    done = estampa_here(env, "replay", str(archive), "--out", str(out), "--summary", str(summary))
    assert done.returncode == 1
    assert "ends early or is damaged" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    read = json.loads(summary.read_text())["read"]
    assert 0 < read < len(PACKETS)
    assert len(out.read_text().splitlines()) == read


def test_a_run_of_which_nothing_is_classified_fails_and_says_why(env: dict[str, str], tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.avro").write_text("not an alert")
    done = estampa_here(env, "replay", str(tmp_path))
    assert done.returncode == 1
    assert "none of 3 alerts was classified (3 not_an_avro_container)" in done.stderr.splitlines()[-1]


def test_the_summary_is_written_though_stdout_is_full(env: dict[str, str], tmp_path: Path) -> None:
    archive, summary = write_tar(tmp_path / "night.tar", PACKETS), tmp_path / "summary.json"
    command = [sys.executable, "-m", "consumer", "replay", str(archive), "--summary", str(summary)]
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done = subprocess.run(command, env=os.environ | env, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1
    assert done.stderr.decode().splitlines()[-1] == "estampa: stdout cannot be written: No space left on device"
    assert json.loads(summary.read_text())["read"] == len(PACKETS)


def test_a_folder_of_parts_that_cannot_be_made_is_told_of_before_the_model_is_loaded(
    env: dict[str, str], tmp_path: Path
) -> None:
    archive = write_tar(tmp_path / "night.tar", PACKETS)
    (tmp_path / "out.avro.parts").write_text("a file")
    done = estampa_here(env, "replay", str(archive), "--out", str(tmp_path / "out.avro"))
    assert done.returncode == 1
    assert "out.avro.parts is a file; give another" in done.stderr.splitlines()[-1]
    assert "model_loaded" not in done.stderr


def test_a_name_that_is_too_long_is_one_line(env: dict[str, str], tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "night.tar", PACKETS)
    done = estampa_here(env, "replay", str(archive), "--out", str(tmp_path / f"{'x' * 300}.avro"))
    assert done.returncode == 1
    assert "File name too long" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("program", ["consumer", "train"])
def test_help_for_a_full_disk_is_one_line_and_for_a_plain_terminal_is_text(program: str) -> None:
    command = [sys.executable, "-m", program, "--help"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode != 0
    assert done.stderr.decode().splitlines()[-1].endswith("stdout cannot be written: No space left on device")
    assert b"Traceback" not in done.stderr
    for encoding in ("ascii", "latin-1"):
        plain = os.environ | {"PYTHONIOENCODING": encoding}
        done = subprocess.run(command, cwd=ROOT, env=plain, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
