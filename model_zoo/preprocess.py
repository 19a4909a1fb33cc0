"""Pixels of a stamp → input of the encoder. Training and serving both call this; a checkpoint stores its settings."""

from dataclasses import asdict, dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

STAMP_SIDE: Final = 63
"""Side of a full ZTF stamp, pixels of about 1.01″."""

QUADRANT_WIDTH: Final = 3072
QUADRANT_HEIGHT: Final = 3080
"""Size of a ZTF readout quadrant, pixels: `candidate.xpos` and `ypos` are places on it."""

MASKED: Final = float(np.finfo(np.float32).min)
"""ZTF's reference images hold the most negative float32 where they have no data; it means what NaN means."""

CHANNELS: Final = ("science", "template", "difference")
NORMALISATIONS: Final = ("minmax", "noise")

BRIGHTEST: Final = np.float32(1e6)
"""Signal over noise past which a pixel says no more: a detector saturates at about 1e5."""


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How stamps become the encoder's input.

    size: side of the cut around the source, pixels. channels: the planes, in order, out of science, template and
    difference. normalisation: "minmax", each channel to [0, 1], as ALeRCE and both seeds do; or "noise", asinh of the
    signal over the sky's own noise, which keeps how bright a source is.
    """

    size: int = 21
    channels: tuple[str, ...] = CHANNELS
    normalisation: str = "minmax"

    def __post_init__(self) -> None:
        if not isinstance(self.size, int) or not 0 < self.size <= STAMP_SIDE:
            raise ValueError(f"preprocessing.size is {self.size}; a stamp gives 1 to {STAMP_SIDE} pixels")
        if not self.channels or set(self.channels) - set(CHANNELS):
            raise ValueError(f"preprocessing.channels is {self.channels}; name some of {', '.join(CHANNELS)}")
        if self.normalisation not in NORMALISATIONS:
            known = " or ".join(map(repr, NORMALISATIONS))
            raise ValueError(f"preprocessing.normalisation is {self.normalisation!r}; it is {known}")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"channels": list(self.channels)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        return cls(**(values | {"channels": tuple(values["channels"])}))


def source_pixel(shape: tuple[int, int], xpos: float, ypos: float) -> tuple[int, int]:
    """(row, column) of the source in a stamp of `shape`, given its place on the quadrant in pixels.

    ZTF cuts stamps around the source and lets the quadrant's edge truncate them without padding, so a short axis
    lost its low side when the source is near 0 and its high side otherwise. A stamp shorter than 32 pixels does not
    hold its source: the place given lies off it.
    """
    half = STAMP_SIDE // 2

    def along(length: int, position: float, quadrant: int) -> int:
        lost = STAMP_SIDE - length if position < quadrant / 2 else 0
        return half - lost

    return along(shape[0], ypos, QUADRANT_HEIGHT), along(shape[1], xpos, QUADRANT_WIDTH)


def cut(image: NDArray[np.float32], size: int, centre: tuple[int, int]) -> tuple[NDArray[np.float32], bool]:
    """Cut (size, size) pixels of `image` (h, w) around `centre` (row, column); what lies outside is NaN.

    Returns the cut as a new float32 array, and whether any of it lay outside.
    """
    top, left = centre[0] - size // 2, centre[1] - size // 2
    rows, columns = _span(top, size, image.shape[0]), _span(left, size, image.shape[1])
    inside = image[rows, columns]
    if inside.shape == (size, size):
        return inside.copy(), False
    padded = np.full((size, size), np.nan, np.float32)
    padded[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = inside
    return padded, True


def _span(start: int, size: int, length: int) -> slice:
    """What `size` pixels from `start` cover of an axis; empty where they miss it."""
    first = max(start, 0)
    return slice(first, max(min(start + size, length), first))


def encoder_input(stamps: NDArray[np.float32], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Raw cuts (N, C, size, size) float32, NaN where there is nothing → the encoder's input, same shape, all finite."""
    known = np.where(stamps > MASKED, stamps, np.float32(np.nan))
    return normalise(known) if preprocessing.normalisation == "minmax" else compressed(signal_to_noise(known))


def normalise(stamps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale each channel of each stamp to [0, 1] by its own finite minimum and maximum: (N, C, H, W) → the same, new.

    NaN becomes 0, and so does a constant or an all-NaN channel (ALeRCE's convention, Carrasco-Davis 2021).
    """
    low = np.fmin.reduce(stamps, axis=(2, 3), keepdims=True)
    span = np.fmax.reduce(stamps, axis=(2, 3), keepdims=True) - low
    usable = span > 0
    scaled = (stamps - np.where(usable, low, 0)) / np.where(usable, span, 1)
    return np.where(usable & ~np.isnan(scaled), scaled, 0).astype(np.float32, copy=False)


def signal_to_noise(stamps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each channel less its median, over its noise; NaN, and a channel with no noise, become 0.

    The noise is the median less the 16th percentile: sources lie above the sky, so the lower side is the sky's own.
    Multiplying a channel, or adding to it, changes nothing: stamps scaled to [0, 1] before give the same answer.
    """
    some = np.sort(stamps.reshape(*stamps.shape[:2], stamps.shape[2] * stamps.shape[3]), axis=2)
    known = some.shape[2] - np.isnan(some).sum(axis=2, keepdims=True)
    median = np.take_along_axis(some, known // 2, axis=2)
    noise = median - np.take_along_axis(some, known * 16 // 100, axis=2)
    usable = noise > 0
    scale = np.where(usable, 1 / np.where(usable, noise, 1), 0).astype(np.float32)
    signal = np.clip((stamps - median[..., None]) * scale[..., None], -BRIGHTEST, BRIGHTEST)
    return np.where(np.isnan(signal), np.float32(0), signal)


def compressed(signal: NDArray[np.float32]) -> NDArray[np.float32]:
    """asinh(signal) / 4: linear within the noise, logarithmic above; 0 for sky, about 2 for a bright star."""
    return (np.arcsinh(signal) / 4).astype(np.float32, copy=False)
