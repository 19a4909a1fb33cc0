from pathlib import Path

import numpy as np

from tests.train.seeds import single, write
from train.inspection import inspect
from train.layouts import read_layout
from train.stamp_set import StampSet


def test_repeats_and_leaks_are_found_by_content(tmp_path: Path) -> None:
    content = single()
    train, test = content["Train"]["images"], content["Test"]["images"]
    train[10:20] = train[:10]
    test[3] = train[40]
    found = inspect(read_layout(write(tmp_path / "stamp_dataset_21_new.pkl", content)))
    assert found.distinct == {"train": 50, "validation": 15, "test": 15}
    assert found.leaks == {("train", "validation"): 0, ("train", "test"): 1, ("validation", "test"): 0}
    assert found.classes["SN"] == {"train": 12, "validation": 3, "test": 3}
    low, high = found.ranges["difference"]
    assert 0 <= low < high <= 1
    assert "LEAK: 1 images are in both train and test" in found.lines()
    assert "train: 60 images, 50 distinct, 10 repeats" in found.lines()


def test_a_set_of_numbered_splits_is_read_by_their_names(tmp_path: Path) -> None:
    path = tmp_path / "built.npz"
    np.savez_compressed(
        path,
        images=np.zeros((3, 21, 21, 3), np.float32),
        labels=np.arange(3),
        classes=np.array(["AGN", "SN", "VS"]),
        channels=np.array(["science", "template", "difference"]),
        split=np.array([0, 2, 1]),
        split_names=np.array(["train", "validation", "test"]),
        features=np.zeros((3, 0), np.float32),
    )
    assert StampSet.load(path).split.tolist() == ["train", "test", "validation"]
