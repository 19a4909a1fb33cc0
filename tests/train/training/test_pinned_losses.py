"""Pinned losses hold on any processor: they are trained again with fewer instructions than this one has."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

PINNED = ("tests/train/baselines/test_fit.py", "tests/train/training/test_loop.py", "-k", "pinned")
SETS = {
    "no vectors": {
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    },
    "AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
}


@pytest.mark.parametrize("limited", SETS.values(), ids=SETS.keys())
def test_pinned_losses_are_the_same_with_any_instructions(limited: dict[str, str]) -> None:
    command = [sys.executable, "-m", "pytest", *PINNED, "-q", "-p", "no:cacheprovider"]
    found = subprocess.run(command, cwd=ROOT, env=os.environ | limited, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout
    assert "3 passed" in found.stdout
