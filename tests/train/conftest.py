"""What tests of training share: simulated pickles, and one thread."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from tests.train.seeds import sequences, write
from train.layouts import read_layout
from train.simulation import seed_dataset
from train.stamp_set import StampSet


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
        seed_dataset.write(name, folder / f"{name}.pkl", 1, 0.003, 1, lambda *_: None)
        found[name] = read_layout(folder / f"{name}.pkl")
    found["recurrent_dataset"] = read_layout(write(folder / "recurrent_dataset.pk", _unsplit(sequences(3, 27))))
    return found


def _unsplit(content: dict[str, Any]) -> dict[str, Any]:
    parts = list(content.values())
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
