"""README's picture is drawn from a real run."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.train.simulation.conftest import make_night


@pytest.mark.integration
def test_the_picture_is_drawn_from_a_night(tmp_path: Path) -> None:
    night = make_night(tmp_path, alerts=60, seed=3).archive
    out = tmp_path / "picture.png"
    command = [sys.executable, "-m", "tests.bench.picture", str(night), str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert out.read_bytes().startswith(b"\x89PNG")
