"""What tests of training share: simulated pickles, and one thread."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from tests.train.seeds import sequences, write
from train.data.pickle_layouts import read_layout
from train.data.stamp_set import StampSet
from train.simulation.datasets.seed_dataset import write_dataset


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """Small models train faster on one, and leave the other to whoever else is testing."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, StampSet]:
    """Simulated pickles of the layouts that the experiments were made for."""
    folder, found = tmp_path_factory.mktemp("seeds"), {}
    for name in ("stamp_dataset_21_new", "5stamps_dataset"):
        write_dataset(name, folder / f"{name}.pkl", 1, 0.003, 1, lambda *_: None)
        found[name] = _few(read_layout(folder / f"{name}.pkl"))
    found["recurrent_dataset"] = read_layout(write(folder / "recurrent_dataset.pk", _unsplit(sequences(3, 27))))
    return found


def _few(stamps: StampSet) -> StampSet:
    """Two of each class in validation and in test: enough to see that a run works, and soon evaluated."""
    held = [
        stamps.rows(split)[stamps.labels[stamps.rows(split)] == label][:2]
        for split, label in product(("validation", "test"), np.unique(stamps.labels))
    ]
    rows = np.sort(np.concatenate([stamps.rows("train"), *held]))
    kept = {name: getattr(stamps, name)[rows] for name in ("images", "labels", "split", "oid", "features")}
    return replace(stamps, **kept)


def _unsplit(content: dict[str, Any]) -> dict[str, Any]:
    parts = list(content.values())
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


FLOAT64 = 1e-6
"""Of losses that a test pins. In float64 they differ between processors by 1e-13 at a step, which a few epochs of
training make 1e-9; in float32 the same few epochs made 1.4 % of it.
"""


@pytest.fixture
def float64() -> Iterator[None]:
    """Models and data are of float64 within the test."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)
