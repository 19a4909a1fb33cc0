"""Tables of labels as people have them: read right, or refused with the file, the line, the value and what to do."""

from pathlib import Path

import pytest

from model_zoo.classes import CLASSES
from train.data.labels import read_labels

AGN, SN = CLASSES.index("AGN"), CLASSES.index("SN")
PLAIN = "candid,label\n5000,AGN\n5001,SN\n"


@pytest.mark.parametrize(
    "content",
    [
        PLAIN.encode(),
        b"\xef\xbb\xbf" + PLAIN.encode(),
        PLAIN.encode("utf-16"),
        b"\xfe\xff" + PLAIN.encode("utf-16-be"),
        PLAIN.replace("\n", "\r\n").encode(),
        PLAIN.replace(",", ";").encode(),
        PLAIN.replace(",", "\t").encode(),
        b"Candid, Label \n 5000, AGN\n 5001 ,SN\n",
        b",candid,label\n0,5000,AGN\n1,5001,SN\n",
        b"candid,label\n\n5000,AGN\n\n5001,SN\n\n\n",
        b'candid,label\n"5000","AGN"\n"5001","SN"\n',
        b"candid,label\n5000.0,AGN\n5001.,SN\n",
        b"candid,label,note\n5000,AGN,caf\xe9\n5001,SN,\n",
        b"candid,label\n5000,AGN\n5001,SN\n5000,AGN\n",
    ],
    ids=["plain", "bom", "utf-16", "utf-16-be", "crlf", "semicolons", "tabs", "spaces", "index", "blank", "quotes",
         "floats", "latin-1", "repeated"],
)  # fmt: skip
def test_a_table_as_spreadsheets_write_it_is_read(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(content)
    assert read_labels(path) == {5000: AGN, 5001: SN}


def test_a_negative_candid_is_a_candid(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("candid,label\n-121540793515135002,SN\n")
    assert read_labels(path) == {-121540793515135002: SN}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r"labels.csv has no column candid, label: its first line must name candid,label"),
        (b"label,candid\nSN\n", r"labels.csv:2: candid '' is no whole number of 64 bits"),
        (b"candid,label\n5000\n", r"labels.csv:2: label '' is none of AGN"),
        (b"candid,label\n1.66138E+18,SN\n", r"labels.csv:2: candid 1.66138E\+18 has lost its last digits; write the"),
        (b"candid,label\n1661380000000000000.0,SN\n", r"labels.csv:2: candid 1661380000000000000.0 has lost its last"),
        (b"candid,label\n99999999999999999999,SN\n", r"labels.csv:2: candid 99999999999999999999 has lost|64 bits"),
        (b"candid,label\nx,SN\n", r"labels.csv:2: candid 'x' is no whole number"),
        (b"candid,label\n1,Quasar\n", r"labels.csv:2: label 'Quasar' is none of AGN"),
        (b"candid,label\n1,SN\x00\n", r"labels.csv:2: label 'SN\\x00' is none of AGN"),
        (b"candid,label\n7,SN\n\n7,AGN\n", r"labels.csv:4: candid 7 is both SN \(line 2\) and AGN; keep one of them"),
        (b'candid,label\n"5000,SN\n', r"labels.csv:\d: unexpected end of data; write the table again as CSV"),
        (b'candid,label,note\n1,SN,"' + b"x" * 200_000 + b'"\n', r"labels.csv:\d: field larger than field limit"),
    ],
)
def test_what_cannot_be_read_right_is_refused_with_its_line(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=said):
        read_labels(path)
