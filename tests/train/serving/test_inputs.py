"""Input files: known by their kind and origin, and refused in one line."""

import tarfile
from pathlib import Path

import numpy as np
import pytest

from model_zoo.classes import CLASSES
from model_zoo.preprocess import Preprocessing
from tests.train.seeds import sequences, single, write
from train.data.from_stamps import alerts_from_stamps
from train.data.pickle_layouts import load_stamps
from train.data.stamp_set import StampSet
from train.experiments.experiment import ExperimentError
from train.serving.dataset import Folds, build_dataset
from train.serving.inputs import find_inputs, read_inputs


@pytest.fixture
def pickle(tmp_path: Path) -> Path:
    return write(tmp_path / "stamp_dataset_21_new.pkl", single())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("night.zip", b"x", r"night\.zip is of no known kind; give archives of alerts \(\.tar"),
        ("absent.tar.gz", None, r"there is no file or folder .*absent\.tar\.gz; give archives"),
        ("torn.tar.gz", b"x", r"torn\.tar\.gz ends early or is damaged after 0 alerts"),
    ],
)
def test_a_file_that_is_nothing_to_learn_from_is_named_on_one_line(
    name: str, content: bytes | None, message: str, tmp_path: Path
) -> None:
    if content:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ExperimentError, match=message) as caught:
        read_inputs(find_inputs([tmp_path / name]), 21)
    assert "\n" not in str(caught.value)


def test_an_archive_that_breaks_off_is_named(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "whole.tar.gz", "w:gz") as archive:
        (tmp_path / "a.avro").write_bytes(np.random.default_rng(0).bytes(100_000))
        archive.add(tmp_path / "a.avro")
    (tmp_path / "half.tar.gz").write_bytes((tmp_path / "whole.tar.gz").read_bytes()[:50_000])
    with pytest.raises(ExperimentError, match=r"half\.tar\.gz ends early or is damaged after 0 alerts"):
        read_inputs(find_inputs([tmp_path / "half.tar.gz"]), 21)


@pytest.mark.parametrize("origin", [None, "real", "simulated"])
def test_stamps_alone_are_evaluated_under_the_origin_of_the_command(origin: str | None, pickle: Path) -> None:
    inputs = read_inputs(find_inputs([pickle]), 21, origin)
    assert inputs.origin == (origin or "unstated")
    assert (len(inputs.evaluated), len(inputs.skies)) == (60, 0)
    assert inputs.prescaled
    assert {split: len(some) for split, some in inputs.holdout.items()} == {"validation": 15, "test": 15}


def test_simulated_stamps_help_real_alerts_and_are_not_evaluated(pickle: Path, real_alerts: Path) -> None:
    inputs = read_inputs(find_inputs([real_alerts / "labelled.tar.gz", pickle]), 21, "simulated")
    assert inputs.origin == "real"
    assert [len(sky) for sky in inputs.skies] == [60]
    beside = read_inputs(find_inputs([real_alerts / "labelled.tar.gz", pickle]), 21)
    assert beside.origin == "real and unstated"
    assert len(beside.evaluated) == len(inputs.evaluated) + 60


def test_nothing_is_learned_of_an_object_or_an_image_in_validation_or_test(tmp_path: Path) -> None:
    content = single()
    content["Train"]["images"][3] = content["Test"]["images"][0]
    content["Train"]["oid"] = [f"train {row}" for row in range(60)]
    content["Train"]["oid"][5:7] = ["ZTF2", "ZTF2"]  # a name of validation and of test
    path = write(tmp_path / "stamp_dataset_21_new.pkl", content)
    inputs = read_inputs(find_inputs([path]), 21, "real")
    assert len(alerts_from_stamps(load_stamps(path), 21).train) == 60
    assert len(inputs.evaluated) == 57
    assert not set(inputs.evaluated.object_id) & set(inputs.holdout["test"].object_id)


def test_an_origin_is_of_stamps_for_archives_tell_their_own(tmp_path: Path) -> None:
    (tmp_path / "night.tar.gz").touch()
    with pytest.raises(ExperimentError, match="--origin simulated is of a set of stamps, and there is none"):
        read_inputs(find_inputs([tmp_path / "night.tar.gz"]), 21, "simulated")


def test_sequences_are_read_too(tmp_path: Path) -> None:
    inputs = read_inputs(find_inputs([write(tmp_path / "5stamps_dataset.pkl", sequences())]), 21)
    assert len(inputs.evaluated) == 300
    assert len(set(inputs.evaluated.key)) == len(set(inputs.evaluated.object_id)) == 60


def test_a_file_named_twice_is_read_once_and_a_folder_may_hold_any_kind_of_archive(tmp_path: Path) -> None:
    for name in ("a.tar", "b.tgz", "c.tar.gz", "d.avro"):
        (tmp_path / name).touch()
    found = find_inputs([tmp_path, tmp_path / "a.tar"])
    assert sorted(path.name for path in found.real) == ["a.tar", "b.tgz", "c.tar.gz", "d.avro"]


@pytest.mark.parametrize(
    ("classes", "each", "message"),
    [(5, 2, "no class has an object for each of 5 folds, 2 at most"), (1, 9, "are of AGN; two classes at least")],
)
def test_too_few_objects_to_make_folds_of_are_told(classes: int, each: int, message: str) -> None:
    images = np.random.default_rng(0).random((classes * each, 21, 21, 3), np.float32)
    labels = np.arange(classes).repeat(each)
    stamps = StampSet(images, ("science", "template", "difference"), labels, CLASSES, np.full(len(labels), "train"))
    with pytest.raises(ExperimentError, match=message):
        Folds.of(build_dataset(alerts_from_stamps(stamps, 21).train, [], Preprocessing()), 5, 1)
