"""The benchmark of training, as a user calls it."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mps", "argument --device: models do not run on 'mps'; give auto, cpu, cuda or cuda:N"),
        ("cuda:99", "argument --device: cuda:99 is not visible"),
    ],
)
def test_a_device_that_nothing_runs_on_is_one_line(name: str, message: str) -> None:
    command = [sys.executable, "-m", "train.bench", "--device", name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
