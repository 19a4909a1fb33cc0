from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from tests.train.seeds import sequences, single, write
from train.data.pickle_layouts import PICKLE_LAYOUTS, read_layout
from train.data.stamp_set import DatasetError, StampSet
from train.simulation.datasets.seed_dataset import write_dataset


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


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a simulated pickle of each layout."""
    folder = tmp_path_factory.mktemp("simulated")
    for name in PICKLE_LAYOUTS:
        write_dataset(name, folder / f"{name}.pkl", 1, 0.002, 1, lambda *_: None)
    return folder


@pytest.mark.parametrize("name", PICKLE_LAYOUTS)
def test_of_all_orders_of_the_channels_only_the_right_one_is_taken(name: str, simulated: Path) -> None:
    path = simulated / f"{name}.pkl"
    assert read_layout(path).channels == PICKLE_LAYOUTS[name].channels
    for order in set(permutations(PICKLE_LAYOUTS[name].channels)) - {PICKLE_LAYOUTS[name].channels}:
        with pytest.raises(DatasetError, match=f"so the order {', '.join(order)} is wrong; give --channels"):
            read_layout(path, channels=order)


@pytest.mark.parametrize("name", PICKLE_LAYOUTS)
def test_simulated_files_of_every_layout_are_scaled_stamps(name: str, simulated: Path) -> None:
    images = read_layout(simulated / f"{name}.pkl").images
    assert 0 == images.min() < images.max() == 1


def test_a_file_without_supernovae_has_less_to_be_checked_by(tmp_path: Path) -> None:
    content = single()
    for part in content.values():
        part["class"][part["class"] == 1] = 0
    assert len(read_layout(write(tmp_path / "stamp_dataset_21_new.pkl", content))) == 90


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda part: part.pop("images"), "has no images"),
        (lambda part: part.update(images=part["images"][:, :20]), r"images are .*\(N, 21, 21, 3\) is needed"),
        (lambda part: part.update({"class": part["class"][:5]}), r"labels are \(5,\)"),
        (lambda part: part.update({"class": part["class"] + 0.5}), "is not a whole number"),
        (lambda part: part["class"].__setitem__(4, np.nan), r"row 4: label nan is not a whole number, as 1 in all are"),
        (
            lambda part: part["class"].__setitem__(7, 9),
            r"row 7: label 9(\.0)? is outside 0 to 4 \(AGN, SN, VS, asteroid, bogus\)",
        ),
        (
            lambda part: part.update({"class": ["SN"] * 14 + ["nova"]}),
            "row 14: label 'nova' is none of AGN, SN, VS, asteroid, bogus",
        ),
        (lambda part: part["images"].__setitem__((3, 0, 0, 0), np.nan), "row 3: the first of 1 pixels that are NaN"),
        (lambda part: part["images"].__setitem__((slice(5, 7), 2), -np.inf), "row 5: the first of 126 pixels"),
        (
            lambda part: part.update(images=part["images"] * 255),
            r"row 0: pixels go from \S+ to 255, and those of scaled",
        ),
        (lambda part: part.update(images=part["images"].astype(str)), "images is an array of <U32; numbers are needed"),
        (lambda part: part.update(images=part["images"][:0]), "is empty; give it some stamps"),
        (lambda part: part.update(images=part["images"][..., ::-1]), "the channel least like the others is the one"),
        (lambda part: part.update(features=part["features"][:, :20]), r"features are \(15, 20\); \(15, 26\) is needed"),
        (lambda part: part.update(features=part["features"][:9]), r"features are \(9, 26\); \(15, 26\) is needed"),
        (lambda part: part["features"].__setitem__((2, 1), np.inf), "row 2: feature distpsnr1 is infinite"),
        (lambda part: part.update(features=part["features"] * 1e300), "row 0: feature sgscore1 is infinite"),
        (
            lambda part: part.update(features=part["features"].astype(str).astype(object) + "?"),
            "features are no numbers",
        ),
    ],
)
@pytest.mark.parametrize("split", ["Validation", "Test"])
def test_damage_is_named_with_its_file_and_split(tmp_path: Path, split: str, damage: object, message: str) -> None:
    content = single()
    content[split]["class"] = content[split]["class"].astype(float)
    damage(content[split])  # type: ignore[operator]
    with pytest.raises(DatasetError, match=rf"stamp_dataset_21_new\.pkl: {split}.*{message}"):
        read_layout(write(tmp_path / "stamp_dataset_21_new.pkl", content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {name: part for name, part in single().items() if name != "Validation"},
            "has no Validation; its keys are Test",
        ),
        (single()["Train"], "has no Train and no Validation and no Test; its keys are class, features"),
        (single() | {"Test": [1, 2]}, "has no Test; .* each a dictionary"),
        ([1, 2], "holds a list; a dictionary is needed"),
    ],
)
def test_a_file_that_lacks_a_split_is_refused_by_the_name_of_the_split(
    tmp_path: Path, content: object, message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        read_layout(write(tmp_path / "stamp_dataset_21_new.pkl", content))


def test_a_sequence_whose_template_is_of_another_size_is_refused(tmp_path: Path) -> None:
    content = sequences()
    content["Test"]["template"] = content["Test"]["template"][:, :20]
    with pytest.raises(DatasetError, match=r"Test: science \(15, 5, 21, 21\), .* template \(15, 20, 21\)"):
        read_layout(write(tmp_path / "5stamps_dataset.pkl", content))


def test_a_feature_that_is_not_there_is_nan_and_the_fingerprint_covers_it(tmp_path: Path) -> None:
    content = single()
    before = read_layout(write(tmp_path / "stamp_dataset_21_new.pkl", content))
    content["Train"]["features"][3, 4] = np.nan
    after = read_layout(write(tmp_path / "stamp_dataset_21_new.pkl", content))
    assert np.isnan(after.features[3, 4])
    assert before.fingerprint != after.fingerprint


def test_a_channel_that_is_the_same_everywhere_is_no_reason_to_refuse(tmp_path: Path) -> None:
    content = single()
    content["Test"]["images"][..., 2] = 0
    assert len(read_layout(write(tmp_path / "stamp_dataset_21_new.pkl", content))) == 90


def test_a_file_that_is_not_there_is_said_not_to_be(tmp_path: Path) -> None:
    for name, read in (("mine.pkl", read_layout), ("mine.npz", StampSet.load)):
        with pytest.raises(DatasetError, match=f"no such file: .*{name}"):
            read(tmp_path / name)


def test_channels_that_the_layout_does_not_have_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="--channels is red, green; difference, science, template are needed"):
        read_layout(write(tmp_path / "stamp_dataset_21_new.pkl", single()), channels=("red", "green"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda held: held["images"].__setitem__((70, 3, 3, 0), np.nan), "validation, row 70: the first of 1 pixels"),
        (
            lambda held: held.update(images=(held["images"] * 255).astype(np.uint8)),
            "train, row 0: pixels go from 0 to 255",
        ),
        (
            lambda held: held.update(labels=np.where(np.arange(90) == 80, np.nan, held["labels"])),
            "test, row 80: label nan",
        ),
        (lambda held: held.update(labels=held["labels"] + 1), "train, row 4: label 5 is outside 0 to 4"),
        (lambda held: held.update(labels=held["labels"][:5]), r"labels \(5,\).* as many of each are needed"),
        (lambda held: held.update(features=held["features"][:5]), r"features are \(5, 26\); \(90, 26\) is needed"),
        (
            lambda held: held["features"].__setitem__((61, 6), -np.inf),
            "validation, row 61: feature isdiffpos is infinite",
        ),
        (
            lambda held: held.update(images=held["images"][:0], labels=held["labels"][:0], split=held["split"][:0]),
            "there is",
        ),
        (lambda held: held.update(split=np.full(90, "tarin")), "split tarin is none of train, validation, test"),
        (
            lambda held: held.update(split=np.full(90, 3), split_names=np.array(["train", "test"])),
            "split has places 3 to 3 in 2 names",
        ),
    ],
)
def test_damage_of_a_converted_file_is_named_with_its_file_and_split(
    tmp_path: Path, damage: object, message: str
) -> None:
    held = read_layout(write(tmp_path / "stamp_dataset_21_new.pkl", single())).arrays()
    damage(held)  # type: ignore[operator]
    np.savez(tmp_path / "set.npz", **held)
    with pytest.raises(DatasetError, match=rf"set\.npz: .*{message}"):
        StampSet.load(tmp_path / "set.npz")


@pytest.mark.parametrize("name", PICKLE_LAYOUTS)
def test_a_file_of_any_name_has_the_layout_of_its_arrays(name: str, simulated: Path, tmp_path: Path) -> None:
    named = read_layout(simulated / f"{name}.pkl")
    for other in ("mine.pkl", *(f"{one}.pkl" for one in PICKLE_LAYOUTS)):
        path = tmp_path / other
        path.write_bytes((simulated / f"{name}.pkl").read_bytes())
        found = read_layout(path)
        assert (found.channels, found.classes) == (named.channels, named.classes)
        assert found.fingerprint == named.fingerprint


def test_an_unknown_name_lists_the_layouts(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="give one of stamp_dataset_21_new"):
        read_layout(write(tmp_path / "mine.pkl", single(25)))
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
