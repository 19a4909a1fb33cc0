"""Packets for tests: small, valid, in the layouts that ZTF and Spark write, with stamps that mean something."""

import gzip
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any

import fastavro
import numpy as np
from numpy.typing import NDArray

CUTOUT = {"type": "record", "name": "ztf.alert.cutout", "fields": [
    {"name": "fileName", "type": "string"}, {"name": "stampData", "type": "bytes"}]}  # fmt: skip


def nullable(kind: Any) -> list[Any]:
    return ["null", kind]


SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "ztf.alert",
    "version": "3.3",
    "fields": [
        {"name": "schemavsn", "type": "string"},
        {"name": "publisher", "type": "string"},
        {"name": "objectId", "type": "string"},
        {"name": "candid", "type": "long"},
        {
            "name": "candidate",
            "type": {
                "type": "record",
                "name": "ztf.alert.candidate",
                "fields": [
                    {"name": "jd", "type": "double"},
                    {"name": "fid", "type": "int"},
                    {"name": "pid", "type": "long"},
                    {"name": "programid", "type": "int"},
                    {"name": "magpsf", "type": "float"},
                    {"name": "xpos", "type": nullable("float")},
                    {"name": "ypos", "type": nullable("float")},
                    {"name": "rb", "type": nullable("float")},
                    {"name": "ssdistnr", "type": nullable("float")},
                    {"name": "ssnamenr", "type": nullable("string")},
                ],
            },
        },
        {
            "name": "prv_candidates",
            "type": nullable(
                {
                    "type": "array",
                    "items": {
                        "type": "record",
                        "name": "ztf.alert.prv_candidate",
                        "fields": [{"name": "jd", "type": "double"}, {"name": "magpsf", "type": nullable("float")}],
                    },
                }
            ),
        },
        {"name": "cutoutScience", "type": nullable(CUTOUT)},
        {"name": "cutoutTemplate", "type": nullable("ztf.alert.cutout")},
        {"name": "cutoutDifference", "type": nullable("ztf.alert.cutout")},
    ],
}
PARSED = fastavro.parse_schema(SCHEMA)


def fits(image: NDArray[np.floating[Any]], bitpix: int = -32, simple: str = "SIMPLE  =  T") -> bytes:
    """A one-block FITS file in ZTF's layout."""
    cards = [simple, f"BITPIX  = {bitpix:>20d}", "NAXIS   =                    2"]
    cards += [f"NAXIS1  = {image.shape[1]:>20d}", f"NAXIS2  = {image.shape[0]:>20d}", "BUNIT   = 'DN'", "END"]
    header = "".join(card.ljust(80) for card in cards if card).ljust(2880).encode()
    data = image.astype(">f4").tobytes()
    return header + data + b"\0" * (-len(data) % 2880)


def packed(image: NDArray[np.floating[Any]], **options: Any) -> bytes:
    return gzip.compress(fits(image, **options), mtime=0)


def blob(seed: int, side: int = 63, width: float = 2.0) -> NDArray[np.float32]:
    """A source in the middle of a noisy sky."""
    random = np.random.default_rng(seed)
    row, column = np.mgrid[:side, :side] - side // 2
    source = random.uniform(50, 500) * np.exp(-(row**2 + column**2) / 2 / width**2)
    return (source + random.normal(100, 5, (side, side))).astype(np.float32)


@dataclass(frozen=True)
class Packet:
    """One alert to be. stamps: channel → gzip FITS, None for a missing cutout; by default drawn from `candid`."""

    candid: int = 1
    object_id: str = "ZTF26aaaaaaa"
    jd: float = 2461000.5
    fid: int = 1
    programid: int = 1
    xpos: float | None = 1500.0
    ypos: float | None = 1500.0
    ssdistnr: float | None = -999.0
    ssnamenr: str | None = "null"
    stamps: dict[str, bytes | None] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        names = ("Science", "Template", "Difference")
        missing = [(place, name.lower()) for place, name in enumerate(names) if name.lower() not in self.stamps]
        stamps = self.stamps | {name: packed(blob(self.candid * 3 + place)) for place, name in missing}
        cutouts = {
            f"cutout{name}": data and {"fileName": f"{name}.fits.gz", "stampData": data}
            for name in names
            for data in [stamps[name.lower()]]
        }
        candidate = {"jd": self.jd, "fid": self.fid, "pid": 1, "programid": self.programid, "magpsf": 18.5, "rb": 0.9}
        candidate |= {"xpos": self.xpos, "ypos": self.ypos, "ssdistnr": self.ssdistnr, "ssnamenr": self.ssnamenr}
        return {
            "schemavsn": "3.3",
            "publisher": "tests",
            "objectId": self.object_id,
            "candid": self.candid,
            "candidate": candidate,
            "prv_candidates": [{"jd": self.jd - 1, "magpsf": None}],
            **cutouts,
        }

    def payload(self, codec: str = "null") -> bytes:
        return container([self], codec)

    def at(self, **changes: Any) -> "Packet":
        return replace(self, **changes)


def container(packets: list[Packet], codec: str = "null", schema: Any = PARSED, sync_interval: int = 16_000) -> bytes:
    """Several packets as one Avro object container."""
    out = BytesIO()
    records = [packet.record() for packet in packets]
    fastavro.writer(out, schema, records, codec=codec, sync_marker=b"0123456789abcdef", sync_interval=sync_interval)
    return out.getvalue()


def night(objects: int = 5, visits: int = 4, first_candid: int = 1000) -> list[Packet]:
    """A small night in time order: every object at every visit, a few days apart."""
    return [
        Packet(
            candid=first_candid + visit * objects + one,
            object_id=f"ZTF26aaaaa{chr(97 + one // 26)}{chr(97 + one % 26)}",
            jd=2461000.5 + 3 * visit + 0.001 * one,
            fid=1 + visit % 2,
        )
        for visit in range(visits)
        for one in range(objects)
    ]
