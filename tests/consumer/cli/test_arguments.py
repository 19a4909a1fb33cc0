"""The words of the command line: what is wrong with them is one line, told before torch is loaded."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.line import environment, estampa_here, payloads, write_tar
from tests.support.packets import night

SAY_TORCH = """
import atexit, runpy, sys
atexit.register(lambda: sys.stderr.write(f"torch loaded: {'torch' in sys.modules}\\n"))
module, sys.argv = sys.argv[1], sys.argv[1:]
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def told(env: dict[str, str], module: str, *words: str, cwd: Path | None = None) -> tuple[int, str, bool]:
    """Exit code of a command that fails, the line that it ends with, and whether torch was loaded by then."""
    command = [sys.executable, "-c", SAY_TORCH, module, *words]
    given = env | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=given, text=True, capture_output=True, timeout=120, check=False, cwd=cwd)
    assert "Traceback" not in done.stderr
    *_, line, torch = done.stderr.splitlines()
    return done.returncode, line, torch == "torch loaded: True"


# Empty words


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("consume", "--group", ""), "--group"),
        (("consume", "--group="), "--group"),
        (("consume", "--brokers", ""), "--brokers"),
        (("consume", "--store", ""), "--store"),
        (("consume", "--topic", "a", "--topic", ""), "--topic"),
        (("consume", "--model", ""), "--model"),
        (("consume", "--device", ""), "--device"),
        (("consume", "--start", ""), "--start"),
        (("consume", "--from", ""), "--from"),
        (("consume", "--batch-size", ""), "--batch-size"),
        (("consume", "--summary", ""), "--summary"),
        (("check-config", "-c", ""), "-c"),
        (("check-config", "--config", ""), "--config"),
        (("audit", "--night", ""), "--night"),
        (("replay", "", "--out", "x.avro"), "an argument"),
        (("object", ""), "an argument"),
        (("deadletters", "list", "--reason", ""), "--reason"),
        (("models", "verify", "estampa-serve", "--public-key", ""), "--public-key"),
    ],
)
def test_an_empty_value_is_refused_and_no_default_is_taken(
    words: tuple[str, ...], option: str, checkpoint_folder: Path
) -> None:
    done = estampa_here(environment(checkpoint_folder), *words)
    assert done.returncode == 2
    assert last_line(done).startswith(f"estampa: {option} is given an empty value")


def test_a_value_of_one_option_that_ends_in_an_equals_sign_is_not_empty(checkpoint_folder: Path) -> None:
    done = estampa_here(environment(checkpoint_folder), "check-config", "--config", "a=")
    assert last_line(done) == "estampa: configuration a= does not exist; give a TOML file"


# Dates and times


@pytest.mark.parametrize("words", [("--from", "1769832000000"), ("--from", "1769832000"), ("--start", "1769832000000")])
def test_a_count_since_1970_is_refused_with_the_time_that_it_means(
    words: tuple[str, str], checkpoint_folder: Path
) -> None:
    line = last_line(estampa_here(environment(checkpoint_folder), "consume", *words))
    assert "is a bare number; did you mean 2026-01-31T04:00:00?" in line


def date_warnings(log: str) -> list[tuple[str, str, str]]:
    """Option, what was given and what to write instead, of each warning."""
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return [(one["option"], one["given"], one["write"]) for one in lines if one["event"] == "date_form_deprecated"]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("date", "warnings"), [("2026-12-01", []), ("20261201", [("--night", "20261201", "2026-12-01")])]
)
def test_an_audit_takes_a_night_in_iso_form_and_warns_of_the_compact_one(
    date: str, warnings: list[tuple[str, str, str]], broker: str, checkpoint_folder: Path
) -> None:
    env = environment(checkpoint_folder, kafka__brokers=broker)
    done = estampa_here(env, "audit", "--night", date)
    assert "ztf_20261201_programid1" in last_line(done)
    assert date_warnings(done.stderr) == warnings


@pytest.mark.parametrize(
    ("given", "write"),
    [
        ("2026-01-31", None),
        ("2026-01-31T04:00:00Z", None),
        ("20260131", "2026-01-31"),
        ("20260131T0400", "2026-01-31T04:00:00"),
        ("20260131T040000Z", "2026-01-31T04:00:00Z"),
        ("20260131T050000+0100", "2026-01-31T05:00:00+01:00"),
    ],
)
def test_consume_warns_of_a_compact_time_and_reads_it(given: str, write: str | None, checkpoint_folder: Path) -> None:
    options = ("--from", "--start")
    words = [word for option in options for word in (option, given)]
    done = estampa_here(environment(checkpoint_folder), "consume", *words, "--model", "nosuch")
    assert "no checkpoint at 'nosuch'" in last_line(done)
    assert sorted(date_warnings(done.stderr)) == [(option, given, write) for option in options if write]


@pytest.mark.parametrize("date", ["yesterday", "2026121", "2026-12-32", "1711-05-02"])
def test_an_audit_refuses_a_night_that_is_no_date(date: str, checkpoint_folder: Path) -> None:
    done = estampa_here(environment(checkpoint_folder), "audit", "--night", date)
    assert last_line(done) == f"estampa: --night {date} is no date; give one of UTC such as 2026-01-31"


# Settings that check-config refuses


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"store__url": "redis://h/?decode_responses=true"}, "store.url"),
        ({"store__url": "redis://h/?db=x"}, "option db"),
        ({"kafka__security": "SASL_SSL"}, "kafka.username"),
        ({"kafka__start": "1769832000000"}, "kafka.start"),
        ({"model__device": "mps"}, "model.device"),
        ({"kafka__group": ""}, "kafka.group"),
    ],
)
def test_check_config_refuses_what_would_fail_later(
    settings: dict[str, str], said: str, checkpoint_folder: Path
) -> None:
    done = estampa_here(environment(checkpoint_folder, **settings), "check-config")
    assert done.returncode == 2
    assert said in last_line(done)


def test_check_config_warns_of_a_login_that_is_sent_to_no_one(checkpoint_folder: Path) -> None:
    env = environment(checkpoint_folder, kafka__username="me", kafka__password="hunter2", log__format="json")
    done = estampa_here(env, "check-config")
    warned = json.loads(done.stderr.splitlines()[-1])
    assert (done.returncode, warned["event"]) == (0, "login_unused")
    assert warned["keys"] == ["kafka.password", "kafka.username"]
    assert "hunter2" not in done.stdout + done.stderr


# Before torch is loaded


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("consume", "--device", "mps"), "models do not run on 'mps'"),
        (("consume", "--model", "nosuch"), "no checkpoint at 'nosuch'"),
        (("consume", "--from", "1769832000000"), "--from 1769832000000 is a bare number"),
        (("consume", "--config", "/nowhere.toml"), "/nowhere.toml does not exist"),
        (("consume", "--store", "redis://h?bogus=1"), "an option 'bogus'"),
        (("replay", "/nowhere.tar"), "/nowhere.tar does not exist"),
        (("replay", ".", "--out", "x.txt"), "x.txt has no known format"),
        (("replay", ".", "--out", "/nowhere/x.avro"), "folder /nowhere does not exist"),
        (("replay", ".", "--state-only", "--out", "x.avro"), "--state-only publishes nothing"),
        (("replay", ".", "--jobs", "2", "--limit", "1"), "--limit counts the alerts of one process"),
        (("replay", ".", "--resume"), "--resume needs"),
        (("demo", "/nowhere.tar"), "/nowhere.tar does not exist"),
        (("object", "ZTF26a", "--model", "nosuch"), "no checkpoint at 'nosuch'"),
        (("deadletters", "replay", "--dead-letters", "/nowhere.avro"), "/nowhere.avro cannot be read"),
        (
            ("deadletters", "list", "--reason", "none", "--dead-letters", "/nowhere.avro"),
            "--reason none is not a reason",
        ),
        (("models", "show", "nosuch"), "no checkpoint at 'nosuch'"),
        (("models", "verify", "nosuch"), "no checkpoint at 'nosuch'"),
        (("models", "list", "--folder", "/nowhere"), "--folder /nowhere is not a folder"),
        (("audit", "--night", "x"), "--night x is no date"),
        (("doctor", "--config", "/nowhere.toml"), "/nowhere.toml does not exist"),
        (("check-config", "--config", "/"), "configuration / is a folder"),
    ],
)
def test_a_slip_is_told_before_torch_is_loaded(words: tuple[str, ...], said: str, checkpoint_folder: Path) -> None:
    code, line, torch = told(environment(checkpoint_folder), "consumer", *words)
    assert code in {1, 2}
    assert said in line
    assert not torch


def test_a_model_that_does_not_exist_is_told_before_torch_is_loaded_whatever_else_is_right(
    checkpoint_folder: Path, tmp_path: Path
) -> None:
    archive = write_tar(tmp_path / "night.tar", payloads(night(1, 1)))
    for command in ("replay", "demo"):
        words = (command, str(archive), *(("--model", "nosuch") if command == "replay" else ()))
        env = environment(checkpoint_folder) | {"ESTAMPA__MODEL__CHECKPOINT": "nosuch"}
        code, line, torch = told(env, "consumer", *words, cwd=tmp_path)
        assert (code, torch) == (1, False)
        assert "no checkpoint at 'nosuch'" in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "nosuch", "--data", "x.npz"), "no experiment is called 'nosuch'"),
        (("run", "ae", "--data", "/nowhere.npz"), "no such file: /nowhere.npz"),
        (("run", "estampa-serve", "--data", "/nowhere"), "no such file: /nowhere"),
        (("run", "ae", "--data", __file__, "--device", "mps"), "--device mps: nothing is trained there"),
        (("run", "ae", "--data", __file__, "--device", "cpu:1"), "--device cpu:1: no device is called so"),
        (("run", "ae", "--data", __file__, "--data", __file__), "--data was given 2 times"),
        (("run", "ae", "--data", __file__, "--set", "bogus=1"), "no setting is called 'bogus'"),
        (("run", "estampa-serve", "--data", __file__, "--tensorboard"), "--tensorboard: estampa-serve writes"),
        (("run", "ae", "--data", "", "--out", "x"), "--data is given an empty value"),
        (("sweep", "ae", "--data", __file__, "--grid", "lr"), "--grid 'lr': key=a,b,c is needed"),
        (("sweep", "ae", "--data", "/nowhere.npz", "--grid", "lr=1"), "no such file: /nowhere.npz"),
        (("sweep", "ae", "--data", __file__, "--grid", "lr=1", "--device", "xpu"), "--device xpu: nothing"),
        (("score", "nosuch", "--data", "x"), "no checkpoint at 'nosuch'"),
        (("score", "estampa-serve", "--data", "/nowhere"), "no such file: /nowhere"),
        (("compare", "/nowhere"), "no such file: /nowhere"),
        (("export", "/nowhere", "--to", "x"), "no such file: /nowhere"),
        (("convert", "/nowhere.pkl", "--out", "x.npz"), "no such file: /nowhere.pkl"),
        (("dataset", "inspect", "/nowhere.npz"), "no such file: /nowhere.npz"),
        (("dataset", "build", "/nowhere.tar", "--labels", "/nowhere.csv", "--out", "x.npz"), "/nowhere"),
        (("simulate", "realism", "--real", "/nowhere.tar", "--labels", "x.csv", "--out", "y"), "/nowhere.tar"),
        (("simulate", "night", "--out", "x.tar.gz", "--date", "1711-05-02"), "1711-05-02 is no date"),
        (("simulate", "night", "--out", "x.tar.gz", "--date", "tonight"), "tonight is no date"),
    ],
)
def test_a_slip_in_training_is_told_before_torch_is_loaded(
    words: tuple[str, ...], said: str, checkpoint_folder: Path, tmp_path: Path
) -> None:
    code, line, torch = told(environment(checkpoint_folder), "train", *words, cwd=tmp_path)
    assert code == 2
    assert said in line
    assert not torch
