"""The command line: bad input is one clear line, and what it started it stops."""

import json
import signal
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from consumer.__main__ import app
from tests.conftest import ROOT
from tests.support.line import environment, estampa, estampa_here, payloads, start, start_held, wait_until, write_tar
from tests.support.packets import night

COMMANDS = {"consume", "replay", "object", "check-config", "demo", "audit", "doctor", "deadletters", "models"}


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def test_help_names_every_command(checkpoint_folder: Path) -> None:
    shown = estampa(environment(checkpoint_folder), "--help").stdout
    rows = {words[1] for line in shown.splitlines() if len(words := line.split()) > 2 and words[0] == "│"}
    named = {command.name or str(command.callback.__name__).replace("_", "-") for command in app.registered_commands}
    groups = {str(group.name) for group in app.registered_groups}
    assert named | groups == COMMANDS
    assert rows >= COMMANDS


def in_bash(script: str) -> str:
    """What a script prints that finds `estampa` and `estampa-train` on its path."""
    env = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        ["bash", "-ec", script], env=env, text=True, capture_output=True, timeout=60, check=True
    ).stdout


def test_version_prints_the_version_of_the_package() -> None:
    shown = in_bash("estampa --version; estampa-train --version")
    assert shown.splitlines() == [f"estampa {metadata.version('estampa')}"] * 2


@pytest.mark.parametrize(
    ("program", "words", "completed"),
    [
        ("estampa", "che", "check-config"),
        ("estampa", "deadletters exp", "export"),
        ("estampa", "consume --exit", "--exit-at-end"),
        ("estampa-train", "simulate ni", "night"),
    ],
)
def test_show_completion_prints_a_script_by_which_bash_completes(program: str, words: str, completed: str) -> None:
    line = f"{program} {words}"
    function = f"_{program.replace('-', '_')}_completion"
    script = f'eval "$({program} --show-completion)"; COMP_WORDS=({line}); COMP_CWORD={len(line.split()) - 1}'
    assert in_bash(f'{script}; {function} {program}; echo "${{COMPREPLY[@]}}"') == f"{completed}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("replay", "/nowhere.tar.gz"), "/nowhere.tar.gz does not exist"),
        (("replay", __file__), "no alert in test_commands.py: 1 × no alert (test_commands.py); give a tar"),
        (("replay", ".", "--out", "x.txt"), "no known format; end it in .parquet, .avro, .jsonl"),
        (("replay", ".", "--out", "/nowhere/x.avro"), "folder /nowhere does not exist"),
        (("replay", ".", "--resume"), "--resume needs"),
        (("replay", ".", "--state-only", "--out", "x.avro"), "--state-only publishes nothing"),
        (("check-config", "--config", "/nowhere.toml"), "/nowhere.toml does not exist"),
    ],
)
def test_bad_words_are_one_clear_line(words: tuple[str, ...], said: str, checkpoint_folder: Path) -> None:
    done = estampa_here(environment(checkpoint_folder), *words)
    assert done.returncode in {1, 2}
    assert said in last_line(done)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model__checkpoint": "nosuch"}, "no checkpoint at 'nosuch'"),
        ({"model__device": "cuda:7"}, "model.device is 'cuda:7': cuda:7 is not visible"),
        ({"store__url": "redis://127.0.0.1:1"}, "does not answer"),
    ],
)
def test_bad_settings_are_one_clear_line(
    settings: dict[str, str], said: str, checkpoint_folder: Path, tmp_path: Path
) -> None:
    archive = write_tar(tmp_path / "night.tar", payloads(night(1, 1)))
    done = estampa_here(environment(checkpoint_folder, **settings), "replay", str(archive))
    assert done.returncode in {1, 2}
    assert said in last_line(done)


def test_check_config_prints_what_holds_and_hides_secrets(checkpoint_folder: Path, tmp_path: Path) -> None:
    config = tmp_path / "estampa.toml"
    config.write_text(
        '[store]\nurl = "redis://me:hidden@store:6379/0"\n[kafka]\npassword = "hidden"\n[batch]\nsize = 64\n'
    )
    env = environment(checkpoint_folder, kafka__librdkafka='{"ssl.key.password": "hidden"}', batch__wait_ms="20")
    done = estampa_here(env, "check-config", "--config", str(config))
    assert done.returncode == 0, done.stderr
    assert "hidden" not in done.stdout + done.stderr
    shown = json.loads(done.stdout)
    assert shown["store"]["url"] == "redis://me:**********@store:6379/0"
    assert shown["batch"] == {"size": 64, "wait_ms": 20}


def test_the_environment_names_the_configuration_where_the_command_line_does_not(
    checkpoint_folder: Path, tmp_path: Path
) -> None:
    files = {size: tmp_path / f"{size}.toml" for size in (64, 65)}
    for size, file in files.items():
        file.write_text(f"[batch]\nsize = {size}\n")
    env = environment(checkpoint_folder) | {"ESTAMPA_CONFIG": str(files[64])}
    for words, size in (((), 64), (("--config", str(files[65])), 65)):
        assert json.loads(estampa_here(env, "check-config", *words).stdout)["batch"]["size"] == size
    for command in ("consume", "doctor", "audit"):
        assert "ESTAMPA_CONFIG" in estampa_here(env, command, "--help").stdout


def test_a_sigterm_before_the_loop_runs_ends_the_process_with_one_line(checkpoint_folder: Path) -> None:
    """By a handler of ours: the kernel's default, which ends others, is not for a container's process 1."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}"
        process = start(environment(checkpoint_folder, store__url=url), "consume")
        with silent.accept()[0]:  # the model is loaded, and the store is waited for
            process.send_signal(signal.SIGTERM)
            _, log = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    assert log.splitlines()[-1] == "estampa: ended by SIGTERM"
    assert "Traceback" not in log


@pytest.fixture
def demo(checkpoint_folder: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of a demo that is to run in `tmp_path`, and its servers too: see `servers`."""
    return environment(checkpoint_folder) | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}


@pytest.mark.integration
def test_the_demo_ends_with_an_account_and_leaves_nothing_running(demo: dict[str, str], tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "night.tar.gz", payloads(night(10, 3)))
    alone = demo | {"PATH": ""}  # without setpriv, by which the kernel would end what we leave
    process = start(alone, "demo", str(archive), cwd=tmp_path)
    shown, log = process.communicate()
    assert process.returncode == 0, log
    assert "30 = 30 classified + 0 repeated + 0 dead letters" in shown
    assert not servers(tmp_path)


@pytest.mark.integration
def test_a_demo_stopped_by_ctrl_c_leaves_nothing_running(demo: dict[str, str], tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "night.tar", payloads(night(100, 20)))
    process = start_held(demo, 1, "demo", str(archive), cwd=tmp_path)
    wait_until(lambda: len(servers(tmp_path)) == 2, what="broker and store")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    wait_until(lambda: not servers(tmp_path), what="the end of broker and store")


def servers(folder: Path) -> set[int]:
    """Process ids of the embedded brokers and stores that run in a folder."""
    found = set[int]()
    for entry in Path("/proc").iterdir():
        try:
            name = (entry / "exe").readlink().name if entry.name.isdecimal() else ""
            if name.startswith(("valkey-server", "tansu")) and (entry / "cwd").readlink().is_relative_to(folder):
                found.add(int(entry.name))
        except OSError:
            continue
    return found
