"""Packet → alerts: the few fields that estampa uses, checked."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from traceback import format_tb
from typing import Any, Final, TypeVar

import structlog

from consumer.decoding.packet import PacketFields, PacketReader
from consumer.decoding.schema import MAX_NAME, named
from consumer.errors import BadAlert, Reason
from model_zoo.preprocess import CHANNELS

T = TypeVar("T")

log = structlog.get_logger()

SOLAR_SYSTEM_RADIUS: Final = 5.0
"""Arcsec within which a known solar-system object is taken to be the source."""
SIGNS: Final = {"t": 1, "1": 1, "f": -1, "0": -1}
"""`isdiffpos` → sign of the difference."""
MAGNITUDES: Final = (-30.0, 99.0)
"""From brighter than the Sun to fainter than anything: what is outside is a filler such as -999."""
LAST_JD: Final = 5_373_484.5
"""The end of the year 9999: later times are no dates to Python."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert. What a packet does not give, or gives as no number, is None.

    jd: days. xpos, ypos: pixels on the quadrant. cutouts: channel → gzip FITS. metadata: values of the fields that the
    reader was asked for. ra, dec: degrees, J2000. magnitude, magnitude_error: of the difference. difference_sign: 1
    where the source is brighter than in the template, -1 where it is fainter.
    """

    object_id: str
    candid: int
    jd: float
    fid: int
    programid: int
    schema_version: str
    sequence_key: str
    xpos: float | None
    ypos: float | None
    cutouts: dict[str, bytes | memoryview | None]
    metadata: tuple[float | None, ...] = ()
    ra: float | None = None
    dec: float | None = None
    magnitude: float | None = None
    magnitude_error: float | None = None
    difference_sign: int | None = None


READER: Final = PacketReader()


def read_alerts(payload: bytes | None, max_bytes: int, reader: PacketReader = READER) -> Iterator[Alert | BadAlert]:
    """The outcome of each record of a packet, in order: an Alert, or why it is none.

    A record that cannot be read ends the packet: what follows it in the container has no known start.
    """
    try:
        for fields in reader.read(_whole(payload, max_bytes)):
            yield _checked(fields)
    except BadAlert as bad:
        yield bad
    except Exception as error:  # noqa: BLE001 - whatever one packet did to the decoder, the next one is read
        yield decoder_failed(error)


def decoder_failed(error: Exception) -> BadAlert:
    """What decoding raised that no bound foresaw, as the fate of one alert. The fault is ours, and logged as such.

    The log has the places in the code; the error's own text, and the variables there, may be megabytes of the packet.
    """
    log.error("decoder_failed", error=named(error), traceback="".join(format_tb(error.__traceback__, -8)))
    return BadAlert(Reason.DECODER_FAILED, f"decoder failed with {named(error)}; please report it with this packet")


def _whole(payload: bytes | None, max_bytes: int) -> bytes:
    if payload is None:
        raise BadAlert(Reason.TOMBSTONE, "message has a key and no value: a tombstone, where an alert was expected")
    if not payload:
        raise BadAlert(Reason.EMPTY, "message is empty")
    if len(payload) > max_bytes:
        raise BadAlert(Reason.TOO_LARGE, f"message is {len(payload)} bytes; limits.packet_bytes is {max_bytes}")
    return payload


def _checked(fields: PacketFields) -> Alert | BadAlert:
    try:
        return _alert(fields)
    except BadAlert as bad:
        return BadAlert(bad.reason, str(bad), fields.programid)


def _alert(fields: PacketFields) -> Alert:
    candid = _value("candid", fields.candid, int, None)
    object_id = _value("objectId", fields.objectId, _text, candid)
    return Alert(
        object_id=object_id,
        candid=candid,
        jd=_value("candidate.jd", fields.jd, _date, candid),
        fid=_value("candidate.fid", fields.fid, _filter_id, candid),
        programid=_value("candidate.programid", fields.programid, _int32, candid),
        schema_version=_value("schemavsn", fields.schemavsn, _text, candid) if fields.schemavsn else fields.version,
        sequence_key=_designation(fields.ssnamenr, fields.ssdistnr, candid) or object_id,
        xpos=_position(fields.xpos),
        ypos=_position(fields.ypos),
        cutouts={channel: getattr(fields, channel) or None for channel in CHANNELS},
        metadata=fields.metadata,
        ra=_within(fields.ra, 0.0, 360.0),
        dec=_within(fields.dec, -90.0, 90.0),
        magnitude=_within(fields.magpsf, *MAGNITUDES),
        magnitude_error=_within(fields.sigmapsf, 0.0, MAGNITUDES[1]),
        difference_sign=SIGNS.get(fields.isdiffpos),
    )


def _value(name: str, value: Any, kind: Callable[[Any], T], candid: int | None) -> T:
    if value is None or value == "" or (isinstance(value, float) and not math.isfinite(value)):
        raise BadAlert(Reason.BAD_FIELD, f"{name} of candid {candid} is {value!r}; a value is needed")
    try:
        return kind(value)
    except (TypeError, ValueError) as error:
        shown = f"{value!r:.50}"
        raise BadAlert(Reason.BAD_FIELD, f"{name} of candid {candid} is {shown}: {error}") from error


def _text(value: str) -> str:
    """It becomes a key, and is published."""
    if len(value) > MAX_NAME:
        raise ValueError(f"{len(value)} characters; at most {MAX_NAME} are read")
    return value


def _date(value: float) -> float:
    if not 0 < value < LAST_JD:
        raise ValueError(f"a Julian date before {LAST_JD} is needed")
    return float(value)


def _int32(value: int) -> int:
    if not -(2**31) <= value < 2**31:
        raise ValueError("a 32-bit integer is needed")
    return value


def _filter_id(value: Any) -> int:
    if not 0 < int(value) < 256:
        raise ValueError("a filter id from 1 to 255 is needed")
    return int(value)


def _designation(name: Any, distance: Any, candid: int) -> str | None:
    """Name of the known solar-system object that the source is. ZTF writes -999 and 'null' where there is none."""
    if not isinstance(name, str) or name.strip() in {"", "null"} or distance is None:
        return None
    if not 0 <= distance <= SOLAR_SYSTEM_RADIUS:
        return None
    return _value("candidate.ssnamenr", name, _text, candid).strip()


def _within(value: float | None, low: float, high: float) -> float | None:
    """The value, None where it is no number from `low` to `high`: a record says what is known."""
    return float(value) if value is not None and low <= value <= high else None


def _position(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) and value > -999 else None
