from pathlib import Path

import numpy as np
import pytest

from tests.train.seeds import sequences, single, write
from train.layouts import read_layout
from train.stamp_set import DatasetError, StampSet


def test_21_new_is_difference_science_template_with_float_labels_and_an_oid_that_cannot_be_zipped(
    tmp_path: Path,
) -> None:
    found = read_layout(write(tmp_path / "stamp_dataset_21_new.pkl", single()))
    assert found.channels == ("difference", "science", "template")
    assert found.images.shape == (90, 21, 21, 3)
    assert [len(found.rows(split)) for split in ("train", "validation", "test")] == [60, 15, 15]
    assert found.labels.dtype == np.int64
    assert set(found.oid[found.rows("train")]) == {""}
    assert found.oid[found.rows("test")][0] == "ZTF0"
    assert found.features.shape == (90, 26)


@pytest.mark.parametrize("key", ["class", "labels"])
def test_28_takes_either_label_key_and_names_of_classes(tmp_path: Path, key: str) -> None:
    content = single(28, key)
    for part in content.values():
        part[key] = np.array(["AGN", "SN", "VS", "asteroid", "bogus"], dtype=object)[np.asarray(part[key], int)]
    found = read_layout(write(tmp_path / "stamp_dataset_28.pkl", content))
    assert found.labels[:6].tolist() == [0, 1, 2, 3, 4, 0]


def test_sequences_repeat_their_one_template(tmp_path: Path) -> None:
    content = sequences()
    found = read_layout(write(tmp_path / "5stamps_dataset.pkl", content))
    assert found.images.shape == (90, 5, 21, 21, 3)
    template = found.images[..., found.plane("template")]
    np.testing.assert_array_equal(template[:, 0], template[:, 4])
    np.testing.assert_array_equal(found.images[0, 2, ..., found.plane("science")], content["Train"]["science"][0, 2])


def test_a_file_without_a_split_keeps_rows_of_one_template_together(tmp_path: Path) -> None:
    part = sequences(3, 27)["Train"]
    doubled = {name: np.concatenate([values, values]) for name, values in part.items()}
    found = read_layout(write(tmp_path / "recurrent_dataset.pk", doubled))
    np.testing.assert_array_equal(found.split[:60], found.split[60:])


def test_a_wrong_channel_order_is_found_by_correlation(tmp_path: Path) -> None:
    path = write(tmp_path / "stamp_dataset_21_new.pkl", single())
    with pytest.raises(DatasetError, match="the channel least like the others is the one called science"):
        read_layout(path, channels=("science", "difference", "template"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda part: part.pop("images"), "has no images"),
        (lambda part: part.update(images=part["images"][:, :20]), r"\(N, 21, 21, 3\) is needed"),
        (lambda part: part.update({"class": part["class"][:5]}), r"labels are \(5,\)"),
        (lambda part: part.update({"class": part["class"] + 0.5}), "is not a whole number"),
        (lambda part: part.update({"class": part["class"] + 3}), "is outside"),
        (lambda part: part["images"].__setitem__((3, 0, 0, 0), np.nan), "the first in row 3"),
    ],
)
def test_damage_is_named(tmp_path: Path, damage: object, message: str) -> None:
    content = single()
    damage(content["Train"])  # type: ignore[operator]
    with pytest.raises(DatasetError, match=message):
        read_layout(write(tmp_path / "stamp_dataset_21_new.pkl", content))


def test_an_unknown_name_lists_the_layouts(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="give one of stamp_dataset_21_new"):
        read_layout(write(tmp_path / "mine.pkl", single()))
    with pytest.raises(DatasetError, match="no layout is called 'mnist'"):
        read_layout(write(tmp_path / "mine.pkl", single()), "mnist")


def test_converted_once_the_images_are_mapped_from_disk(tmp_path: Path) -> None:
    found = read_layout(write(tmp_path / "stamp_dataset_21_new.pkl", single()))
    found.save(tmp_path / "set.npz")
    again = StampSet.load(tmp_path / "set.npz")
    assert isinstance(again.images, np.memmap)
    np.testing.assert_array_equal(again.images, found.images)
    assert again.fingerprint == found.fingerprint
    assert again.feature_names == found.feature_names


def test_a_file_without_a_mark_is_unstated_and_an_unknown_mark_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "stamp_dataset_21_new.pkl", single())
    assert read_layout(path).origin == "unstated"
    write(path, single() | {"origin": "banana"})
    with pytest.raises(DatasetError, match="origin 'banana' is none of real, simulated, unstated"):
        read_layout(path)


def test_a_pickle_given_as_npz_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="convert a pickle first"):
        StampSet.load(write(tmp_path / "set.npz", single()))
