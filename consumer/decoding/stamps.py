"""Stamps of an alert → the cut that the model sees, and what is odd about it."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from isal import isal_zlib
from isal.igzip_lib import IsalError
from numpy.typing import NDArray

from consumer.decoding.alert import Alert
from consumer.decoding.kernels import count_infinite, cut_pixels
from consumer.errors import BadAlert, Reason
from model_zoo.preprocess import MASKED, STAMP_SIDE, Preprocessing, source_pixel

CARD: Final = 80
FITS_BLOCK: Final = 2880
HEADER_BYTES: Final = 64 * FITS_BLOCK
"""An END card is looked for in so many: 2,304 cards; ZTF's headers have some 30, those of whole images some 300."""
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


@dataclass(frozen=True, slots=True)
class Image:
    """An inflated FITS file: big-endian float32 pixels (height, width) from data[start]."""

    data: bytes
    start: int
    height: int
    width: int

    def pixels(self) -> NDArray[np.float32]:
        """(height, width) float32, new; masked pixels are NaN."""
        big_endian = np.frombuffer(self.data, ">f4", self.height * self.width, self.start)
        pixels = big_endian.astype(np.float32).reshape(self.height, self.width)
        return np.where(pixels == MASKED, np.float32(np.nan), pixels)


def read_stamp(packed: bytes | memoryview, max_bytes: int) -> NDArray[np.float32]:
    """A stamp's pixels (height, width) float32, NaN where it has no data. Raises BadAlert: see `read_image`."""
    return read_image(packed, max_bytes).pixels()


def read_image(packed: bytes | memoryview, max_bytes: int) -> Image:
    """Inflate gzip FITS. Raises BadAlert on anything but a 2-D float32 image of at most 63×63.

    The SIMPLE card is not asked for: ZTF's is off-standard, others drop it. FITS standard 4.0, sections 3 and 4.
    """
    raw = _inflate(packed, max_bytes)
    start, height, width, scale, zero = _geometry(raw[:FITS_BLOCK]) or _geometry_of_long_header(raw)
    if len(raw) < start + 4 * height * width:
        wanted = start + 4 * height * width
        raise BadAlert(Reason.UNREADABLE_STAMP, f"is cut short: {len(raw)} bytes where its header promises {wanted}")
    image = Image(raw, start, height, width)
    return image if scale == 1 and zero == 0 else _scaled(image, scale, zero)


def _scaled(image: Image, scale: float, zero: float) -> Image:
    """Physical pixels, zero + scale × stored; a masked one stays masked. What passes float32 is infinite."""
    with np.errstate(over="ignore"):
        physical = (zero + scale * image.pixels().astype(np.float64)).astype(">f4")
    return Image(physical.tobytes(), 0, image.height, image.width)


def cut_stamps(alert: Alert, preprocessing: Preprocessing, max_bytes: int) -> Stamps:
    """Read the channels that the model wants and cut them around the source.

    A missing template is flagged and left NaN: a source in an unmapped place is still a source. Anything that would
    make the answer meaningless raises BadAlert: no science or difference, an unreadable stamp, a stamp larger than
    63×63, one with no finite pixel in the cut, one with an infinite pixel.
    """
    size = preprocessing.size
    pixels = np.empty((len(preprocessing.channels), size, size), np.float32)
    flags: list[str] = []
    held = known = 0
    for plane, channel in zip(pixels, preprocessing.channels, strict=True):
        packed = alert.cutouts[channel]
        if packed is None and channel == "template":
            plane.fill(np.nan)
            flags.append("missing_template")
            continue
        counts = _cut_channel(alert, channel, packed, plane, max_bytes)
        held, known = held + counts.held, known + counts.known
        flags += ["padded"] * (counts.held < size * size and "padded" not in flags)
        flags += [f"constant_{channel}"] * counts.constant
    if known < held:
        flags.append("nan_pixels")
    return Stamps(pixels, (held - known) / held if held else 0.0, tuple(flags))


class Counts(NamedTuple):
    """Of one channel's cut: pixels on the stamp, those of them that are not NaN, whether these are all equal."""

    held: int
    known: int
    constant: bool


def _cut_channel(
    alert: Alert, channel: str, packed: bytes | memoryview | None, plane: NDArray[np.float32], max_bytes: int
) -> Counts:
    """Fill `plane` with the cut of one channel. Raises BadAlert naming the stamp."""
    if packed is None:
        who = f"{channel} stamp of candid {alert.candid}"
        raise BadAlert(Reason.MISSING_CUTOUT, f"{who} is missing; only a template may be")
    try:
        return _cut_image(alert, read_image(packed, max_bytes), plane)
    except BadAlert as bad:
        raise BadAlert(bad.reason, f"{channel} stamp of candid {alert.candid} {bad}") from bad


def _cut_image(alert: Alert, image: Image, plane: NDArray[np.float32]) -> Counts:
    words, size = np.frombuffer(image.data, "<u4", image.height * image.width, image.start), len(plane)
    if infinite := count_infinite(words):
        raise BadAlert(Reason.INFINITE_PIXEL, f"has {infinite} pixels that are infinite, or past ±1e37")
    row, column = _centre(alert, image)
    top, left = row - size // 2, column - size // 2
    known, differing = cut_pixels(words, image.height, image.width, top, left, plane.view(np.uint32))
    if not known:
        raise BadAlert(Reason.BLANK_STAMP, f"has no finite pixel in the {size}×{size} around the source")
    return Counts(_overlap(top, image.height, size) * _overlap(left, image.width, size), known, differing == 0)


def _centre(alert: Alert, image: Image) -> tuple[int, int]:
    if image.height == image.width == STAMP_SIDE:
        return STAMP_SIDE // 2, STAMP_SIDE // 2
    shape = f"{image.height}×{image.width}"
    if alert.xpos is None or alert.ypos is None:
        raise BadAlert(Reason.BAD_FIELD, f"is {shape} and xpos, ypos are null: its source has no place")
    row, column = source_pixel((image.height, image.width), alert.xpos, alert.ypos)
    if not (0 <= row < image.height and 0 <= column < image.width):
        place = f"xpos {alert.xpos:.1f}, ypos {alert.ypos:.1f}"
        raise BadAlert(Reason.STAMP_SHAPE, f"is {shape} and does not hold its source, at {place}")
    return row, column


def _overlap(start: int, length: int, size: int) -> int:
    """Pixels of start … start + size that lie in 0 … length."""
    return max(min(start + size, length) - max(start, 0), 0)


def _inflate(packed: bytes | memoryview, max_bytes: int) -> bytes:
    if len(packed) > max_bytes:
        raise BadAlert(Reason.TOO_LARGE, f"is {len(packed)} bytes; limits.stamp_bytes is {max_bytes}")
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


@lru_cache(maxsize=4096)
def _geometry(header: bytes) -> tuple[int, int, int, float, float] | None:
    """(start of the data, height, width, BSCALE, BZERO) by a header; None where it does not end here.

    Cached: most of ZTF's headers are the same bytes.
    """
    cards: dict[str, str] = {}
    for start in range(0, len(header) - CARD + 1, CARD):
        card = header[start : start + CARD].decode("latin-1")
        keyword = card[:8].strip()
        if keyword == "END":
            return -(-(start + CARD) // FITS_BLOCK) * FITS_BLOCK, *_shape(cards), *_scaling(cards)
        if card[8:9] == "=":
            cards[keyword] = card[9:].partition("/")[0].strip()
    return None


def _geometry_of_long_header(raw: bytes) -> tuple[int, int, int, float, float]:
    geometry = _geometry.__wrapped__(raw[:HEADER_BYTES])
    if geometry is None:
        raise BadAlert(Reason.UNREADABLE_STAMP, "is not FITS: no END card in its header")
    return geometry


def _shape(cards: dict[str, str]) -> tuple[int, int]:
    if cards.get("BITPIX") != "-32" or cards.get("NAXIS") != "2":
        kind = f"BITPIX {cards.get('BITPIX')}, NAXIS {cards.get('NAXIS')}"
        raise BadAlert(Reason.UNREADABLE_STAMP, f"is FITS of {kind}; a 2-D float32 image has -32 and 2")
    height, width = _axis(cards, "NAXIS2"), _axis(cards, "NAXIS1")
    if max(height, width) > STAMP_SIDE:
        raise BadAlert(Reason.STAMP_SHAPE, f"is {height}×{width}; the model takes up to {STAMP_SIDE}×{STAMP_SIDE}")
    return height, width


def _scaling(cards: dict[str, str]) -> tuple[float, float]:
    """FITS standard 4.0, section 4.4.2.5: how stored numbers become physical ones."""
    scale, zero = _number(cards, "BSCALE", 1.0), _number(cards, "BZERO", 0.0)
    if scale == 0:
        raise BadAlert(Reason.UNREADABLE_STAMP, "is FITS with BSCALE = 0: its pixels are lost")
    return scale, zero


def _number(cards: dict[str, str], keyword: str, default: float) -> float:
    text = cards.get(keyword)
    if text is None:
        return default
    try:
        number = float(text.upper().replace("D", "E"))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise BadAlert(Reason.UNREADABLE_STAMP, f"is FITS with {keyword} = {text!r}; a number is needed")
    return number


def _axis(cards: dict[str, str], keyword: str) -> int:
    text = cards.get(keyword, "")
    if not text.isdecimal() or int(text) < 1:
        raise BadAlert(Reason.UNREADABLE_STAMP, f"is FITS with {keyword} = {text!r}; a length in pixels is needed")
    return int(text)
