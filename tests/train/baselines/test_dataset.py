"""What a run learns from and is scored on: which rows, whose objects, and what is refused before training."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.train.seeds import single, write
from train.baselines.dataset import prepare
from train.data.pickle_layouts import read_layout
from train.data.stamp_set import DatasetError, StampSet
from train.experiments.catalogue import read_experiment
from train.training.augment import COPIES


def test_stamps_of_one_object_are_one_group(sets: dict[str, StampSet]) -> None:
    large = read_experiment("ae-large3")[0]
    test = prepare(sets[large.layout], large, torch.device("cpu")).test
    objects = len(sets[large.layout].rows("test"))
    assert test.group is not None
    assert np.array_equal(np.unique(test.group, return_counts=True)[1], np.full(objects, 5))
    stamps = sets["stamp_dataset_21_new"]
    named = replace(stamps, oid=np.array(["", "", *(f"ZTF{row // 2}" for row in range(2, len(stamps)))]))
    groups = prepare(named, read_experiment("ae")[0], torch.device("cpu")).train.group
    train = len(stamps.rows("train"))
    assert groups is not None
    assert len(np.unique(groups)) == 2 + -(-(train - 2) // 2)


def test_a_short_trial_takes_as_many_rows_of_each_class_and_the_same_ones_each_time(sets: dict[str, StampSet]) -> None:
    few = read_experiment("ae", ["rows=17"])[0]
    first, second = (prepare(sets[few.layout], few, torch.device("cpu")) for _ in range(2))
    assert torch.bincount(first.train.label).tolist() == [3] * 5
    assert torch.equal(first.train.stamps, second.train.stamps)
    assert len(first.validation) == len(sets[few.layout].rows("validation"))


def test_a_batch_of_one_that_cannot_be_normalised_is_refused_before_training(sets: dict[str, StampSet]) -> None:
    for batch in (7, 1):
        [experiment] = read_experiment("alerce-stamp", ["rows=15", f"batch_size={batch}"], ["metadata"])
        with pytest.raises(DatasetError, match=f"batches of {batch} leave one of 15 examples alone"):
            prepare(sets[experiment.layout], experiment, torch.device("cpu"))


def test_a_batch_of_one_of_a_balanced_draw_is_refused_by_what_is_drawn(sets: dict[str, StampSet]) -> None:
    whole = sets["stamp_dataset_21_new"]
    train, split = whole.rows("train"), whole.split.copy()
    split[train[whole.labels[train] == 0][1:]] = "validation"
    most = int(np.bincount(whole.labels[train]).max())
    batch = 5 * most * COPIES["none"] - 1
    settings = ["balanced=true", "augmentation=none", f"batch_size={batch}"]
    [experiment] = read_experiment("alerce-stamp", settings, ["metadata"])
    with pytest.raises(DatasetError, match=f"leave one of {batch + 1} examples alone"):
        prepare(replace(whole, split=split), experiment, torch.device("cpu"))


def test_a_class_absent_from_a_split_is_named(tmp_path: Path) -> None:
    content = single()
    content["Test"]["class"][content["Test"]["class"] == 1] = 0
    found = read_layout(write(tmp_path / "stamp_dataset_21_new.pkl", content))
    with pytest.raises(DatasetError, match="split test of 15 stamps has no SN"):
        prepare(found, read_experiment("ae")[0], torch.device("cpu"))
