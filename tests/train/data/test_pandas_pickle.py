"""Frames and series in the words of every pandas, read without any."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.train.pandas_pickles import DIALECTS, Called, Pandas
from tests.train.seeds import single
from train.data.pickle_layouts import FEATURES, read_layout
from train.data.safe_pickle import PickleError, read_pickle

CLASSES = np.array(["AGN", "SN", "VS", "asteroid", "bogus"], object)


def read(folder: Path, pandas: Pandas, content: Any, protocol: int = 4) -> Any:
    path = folder / "frames.pkl"
    path.write_bytes(pandas.dumps(content, protocol))
    return read_pickle(path)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_frames_and_series_come_back_as_arrays(dialect: str, protocol: int, tmp_path: Path) -> None:
    pandas = Pandas(dialect)
    columns = {
        "ra": np.array([1.5, 2.5, 3.5]),
        "ndethist": np.array([1, 2, 3]),
        "oid": np.array(["ZTF1", None, "ZTFñ"], object),
        "dec": np.array([-1.0, 0.0, np.nan]),
    }
    found = read(tmp_path, pandas, {"frame": pandas.frame(columns), "oid": pandas.series(columns["oid"])}, protocol)
    assert list(found["frame"]) == list(columns)
    for name, column in columns.items():
        np.testing.assert_array_equal(found["frame"][name], column)
    assert np.asarray(found["oid"]).tolist() == ["ZTF1", None, "ZTFñ"]
    numbers = read(tmp_path, pandas, pandas.frame({name: columns[name] for name in ("ra", "dec")}), protocol)
    np.testing.assert_array_equal(np.asarray(numbers, np.float32), np.stack([columns["ra"], columns["dec"]], axis=1))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_data_set_of_frames_is_that_of_arrays(dialect: str, tmp_path: Path) -> None:
    pandas, plain = Pandas(dialect), single(28, "labels")
    framed = {}
    for split, part in plain.items():
        codes = np.asarray(part["labels"], np.int8)
        table = pandas.frame(dict(zip(FEATURES, part["features"].T, strict=True)))
        oid = pandas.series(np.array(part["oid"], object))
        label = pandas.categorical(codes, CLASSES) if split == "Test" else pandas.series(CLASSES[codes])
        framed[split] = part | {"features": table, "oid": oid, "labels": label}
    for name, content in (("plain", plain), ("framed", framed)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "stamp_dataset_28.pkl").write_bytes(pandas.dumps(content))
    one, other = (read_layout(tmp_path / name / "stamp_dataset_28.pkl") for name in ("plain", "framed"))
    assert one.fingerprint == other.fingerprint
    np.testing.assert_array_equal(one.oid, other.oid)


def whole(pandas: Pandas, dtype: str) -> Any:
    return pandas.newly("pandas.core.arrays.datetimes", dtype)


def long_index(pandas: Pandas) -> Any:
    return pandas.frame_of([(np.zeros((1, 3)), slice(0, 1, 1))], ["ra"], 10**12)


def wide_index(pandas: Pandas) -> Any:
    pandas.index = lambda _: pandas.rows(10**12)  # type: ignore[method-assign]
    return pandas.frame_of([(np.zeros((1, 3)), slice(0, 10**12, 1))], (), 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda pandas: pandas.frame_of([(np.zeros((2, 3)), slice(0, 2, 1))], ["ra"], 3), "a frame of 1 columns"),
        (lambda pandas: pandas.frame_of([(np.zeros((2, 3)), slice(0, 2, 1))], ["ra", "ra"], 3), "of fewer names"),
        (lambda pandas: pandas.frame_of([(np.zeros((2, 3)), slice(0, 1, 1))], ["ra", "dec"], 3), "is longer than"),
        (lambda pandas: pandas.frame_of([(np.zeros((2, 3)), np.array([0, 7]))], ["ra", "dec"], 3), "KeyError"),
        (lambda pandas: pandas.frame_of([(np.zeros((1, 3)), slice(0, 1, 1))], ["ra"], 4), "columns of another length"),
        (long_index, "an index of 1000000000000 rows"),
        (wide_index, "an index of 1000000000000 rows"),
        (lambda pandas: pandas.categorical(np.array([0, 5], np.int8), ["a", "b"]), "are outside them"),
        (lambda pandas: pandas.categorical(np.array([0, -2], np.int8), ["a", "b"]), "are outside them"),
        (lambda pandas: pandas.arrow(["a", "bc"], [0, 1, 10**6]), "has offsets outside it"),
        (lambda pandas: pandas.arrow(["a", "bc"], [0, 3, 1]), "has offsets outside it"),
        (lambda pandas: pandas.arrow(["a", "bc"], start=10**9), "ValueError"),
        (lambda pandas: Called(pandas.name("pyarrow.lib", "type_for_alias"), "int64"), "are no text"),
        (lambda pandas: Called(pandas.name("pyarrow.lib", "py_buffer"), 10**12), "a buffer is made of a int"),
        (lambda _: Called(bytearray, 10**12), "a buffer is made of a int"),
        (lambda pandas: pandas.whole("pandas.core.frame", "DataFrame", {}), "is made of a dict"),
        (lambda pandas: whole(pandas, "DatetimeArray"), r"asks for pandas\.core\.arrays\.datetimes\.DatetimeArray"),
        (lambda pandas: Called(pandas.name("pandas", "read_pickle"), "x"), r"asks for pandas\.read_pickle"),
        (lambda pandas: Called(pandas.name("pandas", "eval"), "x"), r"asks for pandas\.eval"),
    ],
)
def test_a_frame_that_does_not_fit_is_refused(make: Any, message: str, tmp_path: Path) -> None:
    pandas = Pandas("2")
    with pytest.raises(PickleError, match=message):
        read(tmp_path, pandas, make(pandas))
