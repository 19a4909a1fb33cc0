import os
import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from train.data.safe_pickle import PickleError, read_pickle


class Malicious:
    """Unpickled by the standard reader, this makes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_and_plain_containers_come_back_equal(tmp_path: Path, protocol: int) -> None:
    content = {
        "images": np.arange(12, dtype=np.float32).reshape(3, 4),
        "labels": np.array([0.0, 1.0]),
        "names": np.array(["AGN", "SN"], dtype=object),
        "scalar": np.float64(2.5),
        "list": [1, "two", b"three", None, (True,)],
    }
    path = tmp_path / "plain.pkl"
    path.write_bytes(pickle.dumps(content, protocol))
    found = read_pickle(path)
    np.testing.assert_array_equal(found["images"], content["images"])
    np.testing.assert_array_equal(found["names"], content["names"])
    assert found["scalar"] == 2.5
    assert found["list"] == content["list"]


def test_a_malicious_pickle_is_refused_by_name_and_not_run(tmp_path: Path) -> None:
    target, path = tmp_path / "touched", tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps({"Train": Malicious(target)}))
    with pytest.raises(PickleError, match=r"asks for (posix|nt)\.system"):
        read_pickle(path)
    assert not target.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [("builtins", "eval"), ("numpy", "load"), ("numpy.core.multiarray", "fromstring"), ("numpy.testing", "runstring")],
)
def test_no_other_global_is_admitted(tmp_path: Path, module: str, name: str) -> None:
    path = tmp_path / "sly.pkl"
    path.write_bytes(f"c{module}\n{name}\n.".encode())
    with pytest.raises(PickleError, match=f"{module}.{name}"):
        read_pickle(path)


def test_a_dotted_name_does_not_reach_through_an_admitted_one(tmp_path: Path) -> None:
    path = tmp_path / "dotted.pkl"
    name, module = b"ndarray.__class__", b"numpy"
    frames = b"".join(b"\x8c" + bytes([len(text)]) + text for text in (module, name))
    path.write_bytes(b"\x80\x04" + frames + b"\x93.")
    with pytest.raises(PickleError, match=r"ndarray\.__class__"):
        read_pickle(path)


def test_a_truncated_pickle_says_so(tmp_path: Path) -> None:
    path = tmp_path / "short.pkl"
    path.write_bytes(pickle.dumps(np.zeros(100))[:-40])
    with pytest.raises(PickleError, match=r"short\.pkl cannot be read"):
        read_pickle(path)


# What is built is bounded by what the file holds


def nested(levels: int, kind: type) -> object:
    made: object = kind()
    for _ in range(levels):
        made = kind((made, made))
    return made


def from_above(levels: int) -> object:
    """Lists that are in others before anything is in them."""
    made: list[list[object]] = [[] for _ in range(levels)]
    for outer, inner in pairwise(made):
        outer += [inner, inner]
    return made[0]


def own_item() -> object:
    made: list[object] = []
    made.append(made)
    return made


def read(content: bytes, folder: Path) -> object:
    (folder / "sly.pkl").write_bytes(content)
    return read_pickle(folder / "sly.pkl")


def as_key(content: bytes) -> bytes:
    """The pickle of a dict whose key is what `content` is of. It cannot be made in Python, which would hash it."""
    return b"}" + content.removeprefix(b"\x80\x02")[:-1] + b"K\x01s."


DOUBLING = {
    "tuples": pickle.dumps(nested(60, tuple), 4),
    "lists": pickle.dumps(nested(60, list), 2),
    "in text": pickle.dumps(nested(60, tuple), 0),
    "from above": pickle.dumps(from_above(60)),
    "a key": as_key(pickle.dumps(nested(60, tuple), 2)),
}


@pytest.mark.parametrize("content", DOUBLING.values(), ids=DOUBLING)
def test_containers_that_double_at_each_level_are_refused(tmp_path: Path, content: bytes) -> None:
    """To hash one, or to compare two, would take 2^60 steps, in C code that hears no signal."""
    with pytest.raises(PickleError, match="parts, one within another"):
        read(content, tmp_path)


def test_a_container_that_holds_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PickleError, match="an object in it holds itself"):
        read(pickle.dumps(own_item()), tmp_path)


def test_objects_that_share_their_parts_are_read(tmp_path: Path) -> None:
    names = ["AGN", "SN"]
    content = {"names": names * 5000, "again": [names] * 5000}
    assert read(pickle.dumps(content), tmp_path) == content


@pytest.mark.parametrize(
    "name", ["c_codecs\nencode\n", "ccollections\nOrderedDict\n", "cnumpy\nndarray\n", "cnumpy\ndtype\n"]
)
def test_the_programs_own_names_are_not_altered(tmp_path: Path, name: str) -> None:
    with pytest.raises(PickleError, match=r"BUILD at byte \d+ alters a name"):
        read(f"{name}}}(Vx\nI1\nub.".encode(), tmp_path)


@pytest.mark.parametrize("letter", ["S0", "U0", "S", "U"])
def test_items_of_no_bytes_are_refused(tmp_path: Path, letter: str) -> None:
    """A file of 127 bytes held an array of 10^12 of them."""
    text = (
        "cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntVb\ntR"
        f"(I1\n(L1000000000000L\ntcnumpy\ndtype\n(V{letter}\nI0\nI1\ntR(I3\nV|\nNNNI0\nI1\nI0\ntbI00\nV\ntb."
    )
    with pytest.raises(PickleError, match="asks for 1000000000000 items"):
        read(text.encode(), tmp_path)


def test_an_index_larger_than_any_file_is_refused(tmp_path: Path) -> None:
    text = (
        "cpandas.core.indexes.base\n_new_Index\n(cpandas.core.indexes.range\nRangeIndex\n"
        "(dVstart\nI0\nsVstop\nL4611686018427387904L\nsVstep\nI1\nstR."
    )
    with pytest.raises(PickleError, match="an index of 4611686018427387904 rows"):
        read(text.encode(), tmp_path)
