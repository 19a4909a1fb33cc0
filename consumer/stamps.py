"""Stamps of an alert → the cut that the model sees, and what is odd about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from isal import isal_zlib
from isal.igzip_lib import IsalError
from numpy.typing import NDArray

from consumer.alert import Alert
from consumer.errors import BadAlert, Reason
from model_zoo.preprocess import STAMP_SIDE, Preprocessing, cut, source_pixel

UNMAPPED: Final = np.finfo(np.float32).min
"""What ZTF's templates hold where nothing was mapped: 1 in 87 alerts has some. Taken for light, it would scale all else
to one value."""
HUGE: Final = 1e37
"""A pixel past this is as good as infinite: scaling to [0, 1] would overflow float32."""
CARD: Final = 80
FITS_BLOCK: Final = 2880
GZIP: Final = 31
"""zlib's window bits for a gzip stream: its CRC-32 and length are checked."""


@dataclass(frozen=True, slots=True)
class Stamps:
    """The cut of one alert. pixels: (C, size, size) float32, raw, NaN where there is nothing.

    nan_fraction: NaN among the pixels that the stamps do hold in the cut. flags: missing_template, padded, nan_pixels,
    constant_science, constant_template, constant_difference.
    """

    pixels: NDArray[np.float32]
    nan_fraction: float
    flags: tuple[str, ...]


def read_stamp(packed: bytes, max_bytes: int) -> NDArray[np.float32]:
    """Inflate gzip FITS into an image (h, w) float32, NaN where there is none. Raises BadAlert on any other content.

    The SIMPLE card is not asked for: ZTF's is off-standard, others drop it. FITS standard 4.0, sections 3 and 4.
    """
    raw = _inflate(packed, max_bytes)
    cards, start = _header(raw)
    if cards.get("BITPIX") != "-32" or cards.get("NAXIS") != "2":
        kind = f"BITPIX {cards.get('BITPIX')}, NAXIS {cards.get('NAXIS')}"
        raise BadAlert(Reason.UNREADABLE_STAMP, f"is FITS of {kind}; a 2-D float32 image has -32 and 2")
    height, width = _axis(cards, "NAXIS2"), _axis(cards, "NAXIS1")
    if max(height, width) > STAMP_SIDE:
        raise BadAlert(Reason.STAMP_SHAPE, f"is {height}×{width}; the model takes up to {STAMP_SIDE}×{STAMP_SIDE}")
    if len(raw) < start + 4 * height * width:
        wanted = start + 4 * height * width
        raise BadAlert(Reason.UNREADABLE_STAMP, f"is cut short: {len(raw)} bytes where its header promises {wanted}")
    image = np.frombuffer(raw, ">f4", height * width, start).reshape(height, width).astype(np.float32)
    image[image == UNMAPPED] = np.nan
    return image


def cut_stamps(alert: Alert, preprocessing: Preprocessing, max_bytes: int) -> Stamps:
    """Read the channels that the model wants and cut them around the source.

    A missing template is flagged and left NaN: a source in an unmapped place is still a source. Anything that would
    make the answer meaningless raises BadAlert: no science or difference, an unreadable stamp, a stamp larger than
    63×63, one with no finite pixel in the cut, one with an infinite pixel.
    """
    planes: list[NDArray[np.float32]] = []
    flags: list[str] = []
    present = missing = 0
    for channel in preprocessing.channels:
        packed = alert.cutouts[channel]
        if packed is None and channel == "template":
            planes.append(np.full((preprocessing.size, preprocessing.size), np.nan, np.float32))
            flags.append("missing_template")
            continue
        plane, odd, held = _cut_channel(alert, channel, packed, preprocessing.size, max_bytes)
        planes.append(plane)
        flags += odd
        present += held
        missing += held - int(np.count_nonzero(~np.isnan(plane)))
    if missing:
        flags.append("nan_pixels")
    return Stamps(np.stack(planes), missing / present if present else 0.0, tuple(dict.fromkeys(flags)))


def _cut_channel(
    alert: Alert, channel: str, packed: bytes | None, size: int, max_bytes: int
) -> tuple[NDArray[np.float32], list[str], int]:
    """One plane, its flags, and how many of its pixels the stamp holds."""
    who = f"{channel} stamp of candid {alert.candid}"
    if packed is None:
        raise BadAlert(Reason.MISSING_CUTOUT, f"{who} is missing; only a template may be")
    try:
        image = read_stamp(packed, max_bytes)
    except BadAlert as bad:
        raise BadAlert(bad.reason, f"{who} {bad}") from bad
    if infinite := np.count_nonzero(np.abs(image) > HUGE):
        raise BadAlert(Reason.INFINITE_PIXEL, f"{who} has {infinite} pixels that are infinite, or past ±{HUGE}")
    centre = _centre(alert, image.shape, who)
    plane, padded = cut(image, size, centre)
    finite = plane[~np.isnan(plane)]
    if not finite.size:
        raise BadAlert(Reason.BLANK_STAMP, f"{who} has no finite pixel in the {size}×{size} around the source")
    flags = ["padded"] if padded else []
    if finite.min() == finite.max():
        flags.append(f"constant_{channel}")
    return plane, flags, _overlap(image.shape, size, centre)


def _centre(alert: Alert, shape: Sequence[int], who: str) -> tuple[int, int]:
    height, width = shape
    if (height, width) == (STAMP_SIDE, STAMP_SIDE):
        return STAMP_SIDE // 2, STAMP_SIDE // 2
    if alert.xpos is None or alert.ypos is None:
        raise BadAlert(Reason.BAD_FIELD, f"{who} is {height}×{width} and xpos, ypos are null: its source has no place")
    row, column = source_pixel((height, width), alert.xpos, alert.ypos)
    if not (0 <= row < height and 0 <= column < width):
        place = f"xpos {alert.xpos:.1f}, ypos {alert.ypos:.1f}"
        raise BadAlert(Reason.STAMP_SHAPE, f"{who} is {height}×{width} and does not hold its source, at {place}")
    return row, column


def _overlap(shape: Sequence[int], size: int, centre: tuple[int, int]) -> int:
    """Pixels of the cut that lie on the stamp."""
    starts = [place - size // 2 for place in centre]
    spans = [min(start + size, length) - max(start, 0) for start, length in zip(starts, shape, strict=True)]
    return spans[0] * spans[1]


def _inflate(packed: bytes, max_bytes: int) -> bytes:
    stream = isal_zlib.decompressobj(wbits=GZIP)
    try:
        raw: bytes = stream.decompress(packed, max_length=max_bytes)
    except IsalError as error:  # type: ignore[misc] # its stub does not say that it is an exception
        raise BadAlert(Reason.UNREADABLE_STAMP, f"is not gzip, or damaged: {error}") from error
    if stream.eof:
        return raw
    if len(raw) >= max_bytes:
        raise BadAlert(Reason.TOO_LARGE, f"inflates past {max_bytes} bytes, limits.stamp_bytes")
    raise BadAlert(Reason.UNREADABLE_STAMP, f"is gzip that ends early, after {len(raw)} bytes")


def _header(raw: bytes) -> tuple[dict[str, str], int]:
    """Cards of the primary header as text, and where the data starts."""
    cards: dict[str, str] = {}
    for start in range(0, len(raw) - CARD + 1, CARD):
        card = raw[start : start + CARD].decode("latin-1")
        keyword = card[:8].strip()
        if keyword == "END":
            return cards, -(-(start + CARD) // FITS_BLOCK) * FITS_BLOCK
        if card[8:9] == "=":
            cards[keyword] = card[9:].partition("/")[0].strip()
    raise BadAlert(Reason.UNREADABLE_STAMP, "is not FITS: no END card in its header")


def _axis(cards: dict[str, str], keyword: str) -> int:
    text = cards.get(keyword, "")
    if not text.isdecimal() or int(text) < 1:
        raise BadAlert(Reason.UNREADABLE_STAMP, f"is FITS with {keyword} = {text!r}; a length in pixels is needed")
    return int(text)
