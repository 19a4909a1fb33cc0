from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.train.seeds import sequences, single, write
from train.__main__ import app
from train.data.inspection import inspect
from train.data.pickle_layouts import read_layout
from train.data.stamp_set import StampSet

runner = CliRunner()


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


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("stamp_dataset_21_new.pkl", single()),
        ("stamp_dataset_28.pkl", single(28, "labels")),
        ("td_ztf_stamp_17_06_20.pkl", single(63, "labels")),
        ("5stamps_dataset.pkl", sequences()),
        ("recurrent_dataset.pk", sequences(3, 27)["Train"]),
    ],
)
def test_every_layout_is_inspected_as_a_pickle_and_once_converted(name: str, content: object, tmp_path: Path) -> None:
    pickle, page = write(tmp_path / name, content), tmp_path / "page.png"
    channels = ["--channels", "difference,science,template"] if name.startswith("td") else []
    assert runner.invoke(app, ["convert", str(pickle), "--out", str(tmp_path / "set.npz"), *channels]).exit_code == 0
    shown = runner.invoke(app, ["dataset", "inspect", str(tmp_path / "set.npz"), "--page", str(page)])
    assert shown.exit_code == 0, shown.output
    assert "repeats" in shown.output
    assert "difference: " in shown.output
    assert page.read_bytes().startswith(b"\x89PNG")
    assert runner.invoke(app, ["dataset", "inspect", str(pickle), *channels]).output == shown.output


def test_ranges_of_features_and_names_that_cannot_be_matched_are_told(tmp_path: Path) -> None:
    content = single()
    content["Train"]["features"][:, 12] = np.linspace(18, 20.5, 60)
    content["Train"]["features"][:2, 12] = np.nan
    content["Test"]["features"][:, 12] = content["Validation"]["features"][:, 12] = 19
    content["Validation"]["images"] *= 3
    shown = runner.invoke(app, ["dataset", "inspect", str(write(tmp_path / "stamp_dataset_21_new.pkl", content))])
    assert shown.exit_code == 0, shown.output
    lines = shown.output.splitlines()
    assert "feature diffmaglim: 18.0847 … 20.5, 2 missing" in lines
    assert "train: no object names, for `oid` cannot be matched to the images" in lines
    assert not [line for line in lines if line.startswith(("validation: no", "test: no"))]
    [difference] = [line for line in lines if line.startswith("difference: ")]
    assert difference.endswith(", beyond the 0 … 1 that the models are made for")


def test_a_conversion_does_not_write_over_what_is_there(tmp_path: Path) -> None:
    pickle = write(tmp_path / "stamp_dataset_21_new.pkl", single())
    (tmp_path / "set.npz").write_text("mine")
    for out, message in (("set.npz", "exists; remove it"), ("stamp_dataset_21_new.pkl", "is no .npz file")):
        before = (tmp_path / out).read_bytes()
        found = runner.invoke(app, ["convert", str(pickle), "--out", str(tmp_path / out)], env={"COLUMNS": "300"})
        assert found.exit_code == 2
        assert message in found.output
        assert (tmp_path / out).read_bytes() == before


def test_a_pickle_of_any_name_is_inspected_and_one_of_no_layout_asks_for_it(tmp_path: Path) -> None:
    found = runner.invoke(app, ["dataset", "inspect", str(write(tmp_path / "mine.pkl", single()))])
    assert found.exit_code == 0, found.output
    pickle = str(write(tmp_path / "other.pkl", single(25)))
    assert "give one of stamp_dataset_21_new" in runner.invoke(app, ["dataset", "inspect", pickle]).output
    found = runner.invoke(app, ["dataset", "inspect", pickle, "--layout", "stamp_dataset_21_new"])
    assert found.exit_code == 2
    assert "images are (60, 25, 25, 3); (N, 21, 21, 3) is needed" in found.output
