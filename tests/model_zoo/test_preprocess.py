from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from numpy.typing import NDArray

from model_zoo.preprocess import (
    QUADRANT_HEIGHT,
    QUADRANT_WIDTH,
    STAMP_SIDE,
    Preprocessing,
    cut,
    normalise,
    source_pixel,
)
from tests.support.packets import blob

HALF = STAMP_SIDE // 2
Pixels = NDArray[np.float32]
STAMPS = nps.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 6), st.integers(1, 6)),
    elements=st.floats(-1e6, 1e6, width=32) | st.just(float("nan")),
)


# Cutting


@given(
    shape=st.tuples(st.integers(1, 63), st.integers(1, 63)),
    size=st.integers(1, 63),
    centre=st.tuples(st.integers(-90, 150), st.integers(-90, 150)),
)
def test_a_cut_is_a_slice_of_the_image_in_an_endless_plane_of_nan(
    shape: tuple[int, int], size: int, centre: tuple[int, int]
) -> None:
    image = np.arange(shape[0] * shape[1], dtype=np.float32).reshape(shape)
    plane = np.pad(image, 200, constant_values=np.nan)
    top, left = (200 + place - size // 2 for place in centre)
    expected = plane[top : top + size, left : left + size]
    found, padded = cut(image, size, centre)
    assert found.dtype == np.float32
    assert np.array_equal(found, expected, equal_nan=True)
    assert padded == np.isnan(expected).any()


def test_a_cut_is_a_new_array() -> None:
    image = blob(1)
    found, _ = cut(image, 21, (31, 31))
    found[:] = 0
    assert np.array_equal(image, blob(1))


# Where the source is


def truncated(row: int, column: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Shape of the stamp that a quadrant gives around a pixel, and where in it that pixel is."""
    top, left = max(row - HALF, 0), max(column - HALF, 0)
    bottom, right = min(row + HALF + 1, QUADRANT_HEIGHT), min(column + HALF + 1, QUADRANT_WIDTH)
    return (bottom - top, right - left), (row - top, column - left)


@pytest.mark.parametrize("column", [0, 1, 30, 31, 32, 1_500, 3_039, 3_040, 3_041, 3_071])
@pytest.mark.parametrize("row", [0, 1, 30, 31, 32, 1_500, 3_047, 3_048, 3_049, 3_079])
def test_the_source_of_a_truncated_stamp_is_where_the_quadrant_says(row: int, column: int) -> None:
    """xpos and ypos count pixels from 1, at their centres."""
    shape, place = truncated(row, column)
    assert source_pixel(shape, xpos=column + 1.0, ypos=row + 1.0) == place


@given(row=st.integers(0, 3_079), column=st.integers(0, 3_071), off=st.floats(-0.5, 0.5))
def test_a_fraction_of_a_pixel_does_not_move_the_source(row: int, column: int, off: float) -> None:
    shape, place = truncated(row, column)
    assert source_pixel(shape, column + 1 + off, row + 1 + off) == place


def test_the_source_of_a_full_stamp_is_its_centre_wherever_it_is() -> None:
    assert source_pixel((63, 63), 5.0, 3_079.0) == (31, 31)


def test_a_short_axis_lost_its_low_side_only_where_the_source_is_in_the_lower_half() -> None:
    assert source_pixel((50, 63), xpos=1_000.0, ypos=1_539.5) == (18, 31)
    assert source_pixel((50, 63), xpos=1_000.0, ypos=1_540.0) == (31, 31)
    assert source_pixel((63, 50), xpos=1_535.5, ypos=1_000.0) == (31, 18)
    assert source_pixel((63, 50), xpos=1_536.0, ypos=1_000.0) == (31, 31)


# Scaling


def test_each_channel_of_each_stamp_is_scaled_by_its_own_range() -> None:
    stamps = np.stack([np.stack([blob(1), 10 * blob(2)]), np.stack([blob(3) - 500, blob(4)])])
    scaled = normalise(stamps)
    assert scaled.dtype == np.float32
    assert np.array_equal(scaled.min(axis=(2, 3)), np.zeros((2, 2)))
    assert np.array_equal(scaled.max(axis=(2, 3)), np.ones((2, 2)))


def test_nan_becomes_0_and_leaves_the_other_pixels_scaled_as_if_it_were_not_there() -> None:
    stamp = np.array([[[[2.0, np.nan], [4.0, 3.0]]]], np.float32)
    assert normalise(stamp).tolist() == [[[[0.0, 0.0], [1.0, 0.5]]]]


@pytest.mark.parametrize("value", [0.0, 5.0, -3.0, np.nan])
def test_a_constant_or_empty_channel_becomes_0_and_not_nan(value: float) -> None:
    assert np.array_equal(normalise(np.full((1, 1, 3, 3), value, np.float32)), np.zeros((1, 1, 3, 3)))


def test_a_single_finite_pixel_among_nan_becomes_0() -> None:
    stamp = np.full((1, 1, 3, 3), np.nan, np.float32)
    stamp[0, 0, 1, 1] = 7.0
    assert np.array_equal(normalise(stamp), np.zeros((1, 1, 3, 3)))


def naive(channel: Pixels) -> Pixels:
    """ALeRCE's recipe, a channel at a time."""
    finite = channel[~np.isnan(channel)]
    if not finite.size or finite.min() == finite.max():
        return np.zeros_like(channel)
    return np.nan_to_num((channel - finite.min()) / (finite.max() - finite.min()))


@given(STAMPS)
def test_scaling_is_alerces_recipe(stamps: Pixels) -> None:
    expected = np.stack([np.stack([naive(channel) for channel in stamp]) for stamp in stamps])
    assert np.array_equal(normalise(stamps), expected)


@given(STAMPS)
def test_a_scaled_stamp_is_finite_within_0_and_1_and_owes_nothing_to_its_batch(stamps: Pixels) -> None:
    before = stamps.copy()
    together = normalise(stamps)
    alone = np.concatenate([normalise(stamps[row : row + 1]) for row in range(len(stamps))])
    assert np.array_equal(together, alone)
    assert together.min() >= 0
    assert together.max() <= 1
    assert np.array_equal(stamps, before, equal_nan=True), "the input is not written to"


def test_no_stamps_are_scaled_to_no_stamps() -> None:
    assert normalise(np.empty((0, 3, 21, 21), np.float32)).shape == (0, 3, 21, 21)


# Settings


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"size": 0}, "preprocessing.size is 0"),
        ({"size": 64}, "1 to 63 pixels"),
        ({"channels": ()}, "preprocessing.channels is ()"),
        ({"channels": ("science", "refernce")}, "name some of science, template, difference"),
        ({"normalisation": "zscore"}, "'zscore'; it is 'minmax' or 'noise'"),
    ],
)
def test_preprocessing_that_cannot_be_done_is_refused_by_name(values: Any, said: str) -> None:
    with pytest.raises(ValueError, match="preprocessing") as caught:
        Preprocessing(**values)
    assert said in str(caught.value)


def test_preprocessing_goes_to_plain_types_and_back() -> None:
    made = Preprocessing(27, ("difference", "science"))
    assert made.to_dict() == {"size": 27, "channels": ["difference", "science"], "normalisation": "minmax"}
    assert Preprocessing.from_dict(made.to_dict()) == made


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(TypeError):
        Preprocessing.from_dict({**Preprocessing().to_dict(), "rotate": True})
