import gzip
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from astropy.io import fits as astropy_fits
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from consumer.decoding.alert import Alert, read_alerts
from consumer.decoding.stamps import Stamps, cut_stamps, read_stamp
from consumer.errors import BadAlert, Reason
from model_zoo.preprocess import Preprocessing
from tests.support.packets import Packet, blob, fits, packed

MAX = 2**20
CENTRE = slice(21, 42)


def alert_of(packet: Packet) -> Alert:
    [alert] = read_alerts(packet.payload(), MAX)
    assert isinstance(alert, Alert), alert
    return alert


def stamps_of(preprocessing: Preprocessing | None = None, **changes: Any) -> Stamps:
    """The cut of an alert of candid 42, some of its stamps (science=…) or fields (xpos=…) changed."""
    images = {name: changes.pop(name) for name in ("science", "template", "difference") if name in changes}
    stamps = {name: packed(image) if isinstance(image, np.ndarray) else image for name, image in images.items()}
    return cut_stamps(alert_of(Packet(candid=42, stamps=stamps, **changes)), preprocessing or Preprocessing(), MAX)


def refusal(**changes: Any) -> BadAlert:
    with pytest.raises(BadAlert) as caught:
        stamps_of(**changes)
    return caught.value


def spoiled(*places: tuple[int, int], value: float = np.nan, seed: int = 5, shape: tuple[int, int] = (63, 63)) -> Any:
    image = blob(seed)[: shape[0], : shape[1]]
    for row, column in places:
        image[row, column] = value
    return image


def header(**cards: str) -> bytes:
    """gzip FITS of zeros whose cards say what is given."""
    known = {"SIMPLE": "T", "BITPIX": "-32", "NAXIS": "2", "NAXIS1": "63", "NAXIS2": "63"} | cards
    text = "".join(f"{name:8}= {value:>20}".ljust(80) for name, value in known.items() if value)
    return gzip.compress((text + "END".ljust(80)).ljust(2880).encode() + b"\0" * 4 * 63 * 63)


def scaled(image: NDArray[Any], **cards: str) -> bytes:
    """A stamp whose header has further cards."""
    raw = fits(image, simple="SIMPLE  =                    T")
    more = "".join(f"{name:8}= {value:>20}".ljust(80) for name, value in cards.items()) + "END".ljust(80)
    at = raw.index(b"END ")
    return gzip.compress(raw[:at] + more.encode() + raw[at + len(more) : 2880] + raw[2880:], mtime=0)


# Reading


@pytest.mark.parametrize("shape", [(63, 63), (63, 40), (1, 1), (50, 63)])
def test_an_image_is_read_as_astropy_reads_it(shape: tuple[int, int]) -> None:
    image = blob(1)[: shape[0], : shape[1]]
    stamp = packed(image, simple="SIMPLE  =                    T")
    with astropy_fits.open(BytesIO(gzip.decompress(stamp))) as hdus:
        expected = hdus[0].data
    found = read_stamp(stamp, MAX)
    assert found.dtype == np.float32
    assert np.array_equal(found, expected)
    assert np.array_equal(found, image)


@pytest.mark.parametrize("simple", ["SIMPLE  =  T", "", "SIMPLE  = 'off'"])
def test_the_simple_card_is_not_asked_for(simple: str) -> None:
    assert np.array_equal(read_stamp(packed(blob(1), simple=simple), MAX), blob(1))


@pytest.mark.parametrize(
    ("cards", "scale", "zero"),
    [
        ({"BSCALE": "2.0", "BZERO": "100.0"}, 2.0, 100.0),
        ({"BSCALE": "-0.5"}, -0.5, 0.0),
        ({"BZERO": "32768"}, 1.0, 32768.0),
        ({"BSCALE": "1.5D-3", "BZERO": "-7d1"}, 0.0015, -70.0),
    ],
)
def test_stored_pixels_are_scaled_to_physical_ones_as_astropy_scales_them(
    cards: dict[str, str], scale: float, zero: float
) -> None:
    image = blob(1)
    stamp = scaled(image, **cards)
    with astropy_fits.open(BytesIO(gzip.decompress(stamp))) as hdus:
        expected = np.array(hdus[0].data)
    found = read_stamp(stamp, MAX)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_allclose(found, zero + scale * image.astype(np.float64), rtol=1e-6)


def test_a_scaled_stamp_is_cut_as_the_stamp_of_its_physical_pixels_is() -> None:
    image = spoiled((30, 30), (0, 0))
    physical = (100 + 2 * image.astype(np.float64)).astype(np.float32)
    one, other = (stamps_of(science=of) for of in (scaled(image, BSCALE="2.0", BZERO="100.0"), physical))
    assert np.array_equal(one.pixels, other.pixels, equal_nan=True)
    assert (one.flags, one.nan_fraction) == (other.flags, other.nan_fraction)


def test_a_masked_pixel_stays_masked_when_it_is_scaled() -> None:
    image = spoiled((30, 30), value=float(np.finfo(np.float32).min))
    pixels = read_stamp(scaled(image, BSCALE="1E-30", BZERO="5.0"), MAX)
    assert np.isnan(pixels[30, 30])
    assert np.isfinite(pixels).sum() == 63 * 63 - 1


def test_a_scale_of_one_and_a_zero_of_nothing_leave_a_stamp_as_it_is() -> None:
    assert np.array_equal(read_stamp(scaled(blob(1), BSCALE="1.0", BZERO="0.0"), MAX), blob(1))


def test_pixels_that_scaling_takes_past_float32_are_infinite() -> None:
    assert refusal(science=scaled(blob(1), BSCALE="1E38")).reason is Reason.INFINITE_PIXEL


def test_a_stamp_larger_packed_than_it_may_be_inflated_is_refused() -> None:
    """What stands behind its gzip would be kept with the alert."""
    with pytest.raises(BadAlert, match=r"limits\.stamp_bytes is 1048576") as refused:
        read_stamp(packed(blob(1)) + bytes(MAX), MAX)
    assert refused.value.reason is Reason.TOO_LARGE


def test_a_header_of_several_blocks_is_read() -> None:
    image = blob(2)
    cards = [f"BITPIX  = {-32:>20}", f"NAXIS   = {2:>20}", f"NAXIS1  = {63:>20}", f"NAXIS2  = {63:>20}"]
    cards += [f"HISTORY {line}" for line in range(50)] + ["END"]
    text = "".join(card.ljust(80) for card in cards).ljust(5760).encode()
    assert np.array_equal(read_stamp(gzip.compress(text + image.astype(">f4").tobytes()), MAX), image)


def test_data_that_is_not_padded_to_a_fits_block_is_read() -> None:
    raw = fits(blob(3))[: 2880 + 4 * 63 * 63]
    assert np.array_equal(read_stamp(gzip.compress(raw), MAX), blob(3))


WHOLE = packed(blob(4))
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01"


def flipped(at: int) -> bytes:
    return WHOLE[:at] + bytes([WHOLE[at] ^ 1]) + WHOLE[at + 1 :]


@pytest.mark.parametrize(
    ("stamp", "said"),
    [
        (JPEG, "is not gzip"),
        (b"PK\x03\x04" * 9, "is not gzip"),
        (WHOLE[:0], "ends early, after 0 bytes"),
        (WHOLE[:5], "ends early"),
        (WHOLE[: len(WHOLE) // 2], "ends early"),
        (WHOLE[:-1], "ends early"),
        (flipped(-6), "not gzip, or damaged"),
        (flipped(2), "not gzip, or damaged"),
        (gzip.compress(b""), "no END card"),
        (gzip.compress(b"\xff\xd8 a picture" * 100), "no END card"),
        (gzip.compress(fits(blob(1))[:200]), "no END card"),
        (gzip.compress(fits(blob(1))[:2880]), "cut short: 2880 bytes where its header promises 18756"),
        (gzip.compress(fits(blob(1))[:18755]), "cut short"),
        (header(BITPIX="16"), "BITPIX 16, NAXIS 2"),
        (header(BITPIX="-64"), "BITPIX -64"),
        (header(NAXIS="3"), "NAXIS 3"),
        (header(NAXIS="0"), "NAXIS 0"),
        (header(NAXIS=""), "NAXIS None"),
        (header(NAXIS1=""), "NAXIS1 = ''"),
        (header(NAXIS1="-3"), "NAXIS1 = '-3'; a length in pixels is needed"),
        (header(NAXIS2="0"), "NAXIS2 = '0'"),
        (header(NAXIS2="6.3E1"), "NAXIS2 = '6.3E1'"),
        (header(BSCALE="0.0"), "BSCALE = 0: its pixels are lost"),
        (header(BSCALE="nan"), "BSCALE = 'nan'; a number is needed"),
        (header(BSCALE="two"), "BSCALE = 'two'"),
        (header(BZERO="1E999"), "BZERO = '1E999'; a number is needed"),
        (header(BZERO="'5.0'"), "BZERO"),
        (
            gzip.compress(fits(blob(1)).replace(b"END", b"XXX", 1)[:2880].ljust(65 * 2880) + fits(blob(1))),
            "no END card",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # gzip's bytes hold the time
)
def test_a_stamp_that_cannot_be_read_says_why(stamp: bytes, said: str) -> None:
    with pytest.raises(BadAlert) as caught:
        read_stamp(stamp, MAX)
    assert caught.value.reason is Reason.UNREADABLE_STAMP
    assert said in str(caught.value)


@pytest.mark.parametrize(("width", "shown"), [("65", "63×65"), ("99999999999", "63×99999999999")])
def test_a_stamp_larger_than_63_pixels_is_refused_by_its_header(width: str, shown: str) -> None:
    with pytest.raises(BadAlert) as caught:
        read_stamp(header(NAXIS1=width), MAX)
    assert caught.value.reason is Reason.STAMP_SHAPE
    assert f"is {shown}; the model takes up to 63×63" in str(caught.value)


def test_a_gzip_bomb_is_not_inflated_past_the_limit() -> None:
    with pytest.raises(BadAlert) as caught:
        read_stamp(gzip.compress(b"\0" * 2**24), MAX)
    assert caught.value.reason is Reason.TOO_LARGE
    assert f"inflates past {MAX} bytes, limits.stamp_bytes" in str(caught.value)


def test_a_stamp_that_inflates_to_exactly_the_limit_is_read() -> None:
    assert read_stamp(WHOLE, len(fits(blob(4)))).shape == (63, 63)


@settings(max_examples=150)
@given(st.integers(0, len(WHOLE) - 1), st.binary(max_size=4), st.booleans())
def test_a_stamp_changed_anywhere_is_an_image_or_a_bad_alert(at: int, new: bytes, outside: bool) -> None:
    """outside: the gzip is whole and what it holds is changed."""
    raw = fits(blob(4)) if outside else WHOLE
    at = at % len(raw)
    changed = raw[:at] + new + raw[at + 1 :]
    try:
        image = read_stamp(gzip.compress(changed, 1) if outside else changed, MAX)
    except BadAlert:
        return
    assert image.dtype == np.float32
    assert max(image.shape) <= 63


# Cutting


def test_a_full_stamp_is_cut_around_its_centre_channel_by_channel() -> None:
    images = [blob(seed) for seed in (1, 2, 3)]
    stamps = stamps_of(science=images[0], template=images[1], difference=images[2])
    assert np.array_equal(stamps.pixels, np.stack([image[CENTRE, CENTRE] for image in images]))
    assert (stamps.flags, stamps.nan_fraction, stamps.pixels.dtype) == ((), 0.0, np.float32)


def test_the_checkpoint_says_which_channels_are_cut_in_which_order_and_how_large() -> None:
    science, difference = blob(1), blob(2)
    stamps = stamps_of(Preprocessing(31, ("difference", "science")), science=science, difference=difference)
    assert np.array_equal(stamps.pixels, np.stack([difference[16:47, 16:47], science[16:47, 16:47]]))


def test_a_channel_that_the_model_does_not_want_may_be_missing_or_broken() -> None:
    stamps = stamps_of(Preprocessing(21, ("science",)), template=JPEG, difference=None)
    assert stamps.pixels.shape == (1, 21, 21)


def test_an_alert_without_a_template_is_classified_with_a_flag() -> None:
    stamps = stamps_of(template=None)
    assert stamps.flags == ("missing_template",)
    assert np.isnan(stamps.pixels[1]).all()
    assert np.isfinite(stamps.pixels[[0, 2]]).all()
    assert stamps.nan_fraction == 0.0


@pytest.mark.parametrize("channel", ["science", "difference"])
def test_an_alert_without_science_or_difference_is_a_dead_letter_that_names_it(channel: str) -> None:
    bad = refusal(**{channel: None})
    assert bad.reason is Reason.MISSING_CUTOUT
    assert f"{channel} stamp of candid 42 is missing" in str(bad)


def test_an_unreadable_stamp_names_channel_and_candid() -> None:
    bad = refusal(template=JPEG)
    assert bad.reason is Reason.UNREADABLE_STAMP
    assert str(bad).startswith("template stamp of candid 42 is not gzip")


def test_a_65_pixel_stamp_is_a_dead_letter() -> None:
    bad = refusal(science=np.ones((65, 65)))
    assert bad.reason is Reason.STAMP_SHAPE
    assert "science stamp of candid 42 is 65×65" in str(bad)


@pytest.mark.parametrize("value", [np.inf, -np.inf, 3e38, -3e38])
@pytest.mark.parametrize("place", [(31, 31), (0, 0)])
def test_an_infinite_pixel_is_a_dead_letter_that_names_the_candid(value: float, place: tuple[int, int]) -> None:
    """So is one so large that scaling overflows."""
    bad = refusal(difference=spoiled(place, value=value))
    assert bad.reason is Reason.INFINITE_PIXEL
    assert "difference stamp of candid 42 has 1 pixels that are infinite" in str(bad)


@pytest.mark.parametrize("channel", ["science", "template", "difference"])
def test_an_all_nan_stamp_is_a_dead_letter_and_never_a_score(channel: str) -> None:
    bad = refusal(**{channel: np.full((63, 63), np.nan)})
    assert bad.reason is Reason.BLANK_STAMP
    assert f"{channel} stamp of candid 42 has no finite pixel in the 21×21" in str(bad)


def test_a_stamp_that_is_nan_around_the_source_only_is_a_dead_letter() -> None:
    image = blob(1)
    image[CENTRE, CENTRE] = np.nan
    assert refusal(science=image).reason is Reason.BLANK_STAMP


def test_some_nan_pixels_are_a_flag_and_a_fraction_and_leave_the_others_as_they_are() -> None:
    image = spoiled((31, 31), (30, 30), (0, 0))
    stamps = stamps_of(science=image)
    assert stamps.flags == ("nan_pixels",)
    assert stamps.nan_fraction == pytest.approx(2 / (3 * 21 * 21))
    assert np.array_equal(stamps.pixels[0], image[CENTRE, CENTRE], equal_nan=True)


def test_the_share_of_nan_pixels_is_of_those_on_the_stamps_that_are_there() -> None:
    """A missing template has no pixels, and what lies past the edge of a stamp is none either."""
    science = spoiled((31, 31), (30, 31))
    assert stamps_of(science=science).nan_fraction == 2 / (3 * 441)
    assert stamps_of(science=science, template=None).nan_fraction == 2 / (2 * 441)
    edge = spoiled((31, 31), shape=(63, 37))
    cut = stamps_of(science=edge, xpos=3_072.0 - 5)
    assert "padded" in cut.flags
    held = int(np.isfinite(cut.pixels).sum()) + 1
    assert held < 3 * 441
    assert cut.nan_fraction == 1 / held


def test_nan_outside_the_cut_is_nobodys_business() -> None:
    assert stamps_of(science=spoiled((0, 0), (62, 62))).flags == ()


@pytest.mark.parametrize("value", [0.0, 7.5])
@pytest.mark.parametrize("channel", ["science", "template", "difference"])
def test_a_constant_stamp_is_classified_with_a_flag(channel: str, value: float) -> None:
    assert stamps_of(**{channel: np.full((63, 63), value)}).flags == (f"constant_{channel}",)


def test_a_templates_unmapped_pixels_are_nan_and_no_light() -> None:
    """ZTF writes -3.4028235e38 there. Scaled as light, it would leave the rest of the channel at 1."""
    image = blob(2)
    image[:, :28] = np.finfo(np.float32).min
    stamps = stamps_of(template=image)
    assert np.isnan(stamps.pixels[1][:, :7]).all()
    assert np.array_equal(stamps.pixels[1][:, 7:], blob(2)[21:42, 28:42])
    assert stamps.flags == ("nan_pixels",)
    assert stamps.nan_fraction == pytest.approx(1 / 9)


def test_a_template_that_is_unmapped_all_over_is_a_blank_one() -> None:
    assert refusal(template=np.full((63, 63), np.finfo(np.float32).min)).reason is Reason.BLANK_STAMP


# Edges


def edge(image: NDArray[np.float32], rows: slice, columns: slice) -> dict[str, Any]:
    return dict.fromkeys(("science", "template", "difference"), image[rows, columns])


@pytest.mark.parametrize(
    ("rows", "columns", "xpos", "ypos"),
    [
        (slice(0, 63), slice(0, 51), 3053.0, 1500.0),
        (slice(0, 63), slice(12, 63), 20.0, 1500.0),
        (slice(0, 52), slice(0, 63), 1500.0, 3060.0),
        (slice(11, 63), slice(0, 63), 1500.0, 21.0),
    ],
)
def test_an_edge_stamp_that_holds_the_whole_cut_gives_the_cut_of_the_full_stamp(
    rows: slice, columns: slice, xpos: float, ypos: float
) -> None:
    image = blob(9)
    stamps = stamps_of(xpos=xpos, ypos=ypos, **edge(image, rows, columns))
    assert np.array_equal(stamps.pixels[0], image[CENTRE, CENTRE])
    assert (stamps.flags, stamps.nan_fraction) == ((), 0.0)


@pytest.mark.parametrize(
    ("rows", "columns", "xpos", "ypos"),
    [
        (slice(0, 63), slice(0, 35), 3069.0, 1500.0),
        (slice(28, 63), slice(0, 63), 1500.0, 4.0),
        (slice(28, 63), slice(0, 35), 3069.0, 4.0),
    ],
)
def test_an_edge_stamp_that_ends_within_the_cut_is_padded_where_the_full_stamp_would_have_gone_on(
    rows: slice, columns: slice, xpos: float, ypos: float
) -> None:
    image = blob(9)
    full = np.full_like(image, np.nan)
    full[rows, columns] = image[rows, columns]
    stamps = stamps_of(xpos=xpos, ypos=ypos, **edge(image, rows, columns))
    assert np.array_equal(stamps.pixels[1], full[CENTRE, CENTRE], equal_nan=True)
    assert stamps.flags == ("padded",)
    assert stamps.nan_fraction == 0.0, "what was never observed is not NaN of the stamp"


def test_an_edge_stamp_without_a_place_on_the_quadrant_is_a_dead_letter() -> None:
    bad = refusal(xpos=-999.0, **edge(blob(1), slice(0, 63), slice(0, 50)))
    assert bad.reason is Reason.BAD_FIELD
    assert "is 63×50 and xpos, ypos are null" in str(bad)


def test_a_full_stamp_needs_no_place() -> None:
    assert stamps_of(xpos=None, ypos=None).flags == ()


@pytest.mark.parametrize("height", [1, 10, 20, 21, 31])
@pytest.mark.parametrize("ypos", [3.0, 3078.0])
def test_a_stamp_too_short_to_hold_its_source_is_a_dead_letter(height: int, ypos: float) -> None:
    bad = refusal(ypos=ypos, **edge(blob(1), slice(0, height), slice(0, 63)))
    assert bad.reason is Reason.STAMP_SHAPE
    assert f"is {height}×63 and does not hold its source, at xpos 1500.0, ypos {ypos}" in str(bad)


@pytest.mark.parametrize("ypos", [1.0, 3079.0])
def test_a_stamp_of_32_pixels_holds_its_source_on_its_last_row(ypos: float) -> None:
    assert stamps_of(ypos=ypos, **edge(blob(1), slice(0, 32), slice(0, 63))).flags == ("padded",)
