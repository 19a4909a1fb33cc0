"""The same answer whatever the processor can do: each instruction set in a process of its own.

Within a process, batches, places in them and threads change no bit. Between processes the heads give equal bits, since
their arithmetic is fixed; convolutions come from a library, and agree within TOLERANCE.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
import torch
from numpy.typing import NDArray

from tests.conftest import ROOT
from tests.support.arrays import read_arrays
from tests.support.packets import night

TOLERANCE = 1e-4
"""Of latents, which are of the size of 10, and of probabilities: float32 keeps 7 digits, sums lose two of them."""

SETS: Mapping[str, dict[str, str]] = {
    "as the processor is": {},
    "ATen without vectors": {"ATEN_CPU_CAPABILITY": "default"},
    "ATen with AVX2": {"ATEN_CPU_CAPABILITY": "avx2"},
    "oneDNN with SSE4.1": {"ONEDNN_MAX_CPU_ISA": "SSE41"},
    "oneDNN with AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    "MKL with SSE4.2": {"MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
    "numba without vectors": {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": ""},
    "all of them old": {
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3",
    },
}
X86 = pytest.mark.skipif(torch.backends.cpu.get_cpu_capability() not in {"AVX2", "AVX512"}, reason="x86 with AVX2 only")
Answers = Mapping[str, NDArray[np.float32]]


def under(instructions: str, *command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a module of ours under an instruction set. Kernels compiled for another set are kept apart."""
    environment = os.environ | SETS[instructions] | {"OMP_WAIT_POLICY": "PASSIVE"}
    if "NUMBA_CPU_NAME" in SETS[instructions]:
        environment["NUMBA_CACHE_DIR"] = str(folder / "kernels")
    done = subprocess.run(
        [sys.executable, "-m", *command], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="session")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """Answers under the instruction set that a user gets."""
    folder = tmp_path_factory.mktemp("usual")
    under("as the processor is", "tests.system.invariance", str(folder / "answers.npz"), folder=folder)
    return read_arrays(folder / "answers.npz")


@X86
@pytest.mark.parametrize("instructions", [name for name in SETS if SETS[name]])
def test_answers_hold_in_any_batch_and_agree_with_the_usual_ones(
    instructions: str, usual: Answers, tmp_path: Path
) -> None:
    under(instructions, "tests.system.invariance", str(tmp_path / "answers.npz"), folder=tmp_path)
    found = read_arrays(tmp_path / "answers.npz")
    assert found.keys() == usual.keys()
    assert np.array_equal(found["sequences"], usual["sequences"])
    for name, values in usual.items():
        assert np.abs(found[name] - values).max() < TOLERANCE, name


@X86
@pytest.mark.integration
def test_a_second_machine_leaves_the_first_ones_latents_and_sequence_answers(store_url: str, tmp_path: Path) -> None:
    """Of one group, with another instruction set: the alerts that both classify get one answer a sequence."""
    archive = tmp_path / "alerts"
    archive.mkdir()
    for number, packet in enumerate(night(objects=10, visits=4)):
        (archive / f"{number:03}.avro").write_bytes(packet.payload())

    def replayed(instructions: str) -> tuple[list[Any], dict[bytes, dict[bytes, bytes]]]:
        out = tmp_path / f"{instructions}.jsonl"
        options = ("--store", store_url, "--model", "estampa-serve", "--device", "cpu", "--out", str(out))
        under(instructions, "consumer", "replay", str(archive), *options, folder=tmp_path)
        records = [json.loads(line) for line in out.read_text().splitlines()]
        with redis.Redis.from_url(store_url) as client:
            held = {key: client.hgetall(key) for key in client.scan_iter("latent:*")}
        return [record["sequence_probabilities"] for record in records], held

    first, second = replayed("as the processor is"), replayed("oneDNN with SSE4.1")
    assert first[1]
    assert second[1] == first[1]
    assert second[0] == first[0]
    assert len(first[0]) == 40
