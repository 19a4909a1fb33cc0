import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from train.pickles import PickleError, read_pickle


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
