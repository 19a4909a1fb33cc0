"""The five pickles: layouts, quirks, sameness."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_zoo.classes import CLASSES
from train.data.pickle_layouts import read_layout
from train.data.stamp_set import StampSet
from train.simulation.datasets.seed_dataset import DISTINCT, SEED_LAYOUTS, seed_layout, write_dataset

SCALE = 0.002


def made(folder: Path, name: str, processes: int = 1) -> Any:
    out = folder / f"{name}-{processes}.pkl"
    write_dataset(name, out, 1, SCALE, processes, lambda *_: None)
    with out.open("rb") as file:
        return pickle.load(file)


@pytest.fixture(scope="module")
def balanced(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return made(tmp_path_factory.mktemp("balanced"), "stamp_dataset_21_new")


def test_train_is_balanced_by_replicating_rows(balanced: Any) -> None:
    train = balanced["Train"]
    counts = np.bincount(train["class"].astype(int))
    assert len(set(counts)) == 1
    distinct = len(np.unique(train["images"].reshape(len(train["images"]), -1), axis=0))
    assert distinct == sum(max(2, round(n * SCALE)) for n in DISTINCT.values()) == len(train["oid"])
    assert distinct < len(train["images"])


@pytest.mark.parametrize(("name", "each"), [("stamp_dataset_21_new", 100), ("5stamps_dataset", 200)])
def test_at_a_small_scale_validation_and_test_are_whole(tmp_path: Path, name: str, each: int) -> None:
    """As many of each class as in the projects' own files, so that scores on them can be compared."""
    content = made(tmp_path, name)
    for split in ("Validation", "Test"):
        label = content[split]["class" if "class" in content[split] else "labels"]
        assert set(np.bincount(label)) == {each}


def test_labels_are_floats_in_train_and_integers_elsewhere(balanced: Any) -> None:
    assert balanced["Train"]["class"].dtype == np.float64
    assert balanced["Test"]["class"].dtype == balanced["Validation"]["class"].dtype == np.int64


def test_splits_share_no_object(balanced: Any) -> None:
    names = [set(balanced[split]["oid"]) for split in ("Train", "Validation", "Test")]
    assert not names[0] & names[1]
    assert not names[0] & names[2]
    assert not names[1] & names[2]


def test_difference_is_the_first_channel_and_the_least_like_the_others(balanced: Any) -> None:
    stars = balanced["Train"]["images"][balanced["Train"]["class"] == CLASSES.index("VS")]
    flat = stars.reshape(len(stars), -1, 3)
    alike = np.mean([np.corrcoef(image.T) for image in flat], axis=0)
    assert np.argmin(alike.sum(axis=0)) == 0


def test_images_are_scaled_to_one_and_have_26_features(balanced: Any) -> None:
    for split in (balanced[name] for name in ("Train", "Validation", "Test")):
        assert split["images"].shape[1:] == (21, 21, 3)
        assert split["images"].dtype == np.float32
        assert split["images"].min() == 0.0
        assert split["images"].max() == 1.0
        assert split["features"].shape == (len(split["images"]), 26)
        assert np.isfinite(split["features"]).all()


def test_the_28_pixel_set_has_string_labels(tmp_path: Path) -> None:
    test = made(tmp_path, "stamp_dataset_28")["Test"]
    assert set(test["labels"]) == set(CLASSES)
    assert test["images"].shape[1:] == (28, 28, 3)


def test_the_63_pixel_set_has_integer_labels_and_no_names(tmp_path: Path) -> None:
    test = made(tmp_path, "td_ztf_stamp_17_06_20")["Test"]
    assert set(test) == {"images", "labels", "features"}
    assert test["labels"].dtype == np.int64
    assert test["images"].shape[1:] == (63, 63, 3)


def test_sequences_of_five_have_one_template_each(tmp_path: Path) -> None:
    content = made(tmp_path, "5stamps_dataset")
    assert set(content) == {"Train", "Validation", "Test", "origin"}
    train = content["Train"]
    assert train["template"].shape == (len(train["labels"]), 21, 21)
    assert train["science"].shape == train["difference"].shape == (len(train["labels"]), 5, 21, 21)
    assert set(train["labels"]) == {0, 1, 2}


def test_the_recurrent_set_has_no_split(tmp_path: Path) -> None:
    content = made(tmp_path, "recurrent_dataset")
    assert set(content) == {"template", "science", "difference", "labels", "origin"}
    assert content["science"].shape[1:] == (3, 27, 27)


@pytest.mark.parametrize("name", ["stamp_dataset_28", "5stamps_dataset", "recurrent_dataset"])
def test_a_simulated_file_says_so_and_its_conversion_too(tmp_path: Path, name: str) -> None:
    made(tmp_path, name)
    read = read_layout(tmp_path / f"{name}-1.pkl")
    assert read.origin == "simulated"
    read.save(tmp_path / "converted.npz")
    assert StampSet.load(tmp_path / "converted.npz").origin == "simulated"


def test_same_seed_gives_same_pickle_on_two_processes(tmp_path: Path) -> None:
    for processes in (1, 2):
        made(tmp_path, "stamp_dataset_21_new", processes)
    first, second = (tmp_path / f"stamp_dataset_21_new-{n}.pkl" for n in (1, 2))
    assert first.read_bytes() == second.read_bytes()


def test_full_sizes_are_the_seeds_own() -> None:
    assert sum(DISTINCT.values()) == 50_594
    assert 5 * max(DISTINCT.values()) == 72_710
    recurrent = SEED_LAYOUTS["recurrent_dataset"]
    assert sum(recurrent.objects.values()) == 77_146  # type: ignore[union-attr]


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no data set is like 'mnist': choose from stamp_dataset_21_new, "):
        seed_layout("mnist")
