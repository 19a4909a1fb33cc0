import numpy as np
import pytest

from model_zoo.preprocess import MASKED, Preprocessing, encoder_input, signal_to_noise

NOISE = Preprocessing(normalisation="noise")


def sky(rows: int = 4, seed: int = 0) -> np.ndarray:
    """(rows, 3, 21, 21): sky of mean 200 and noise 5, with a star of 500 in the middle."""
    stamps = np.random.default_rng(seed).normal(200, 5, (rows, 3, 21, 21)).astype(np.float32)
    stamps[:, :, 10, 10] += 500
    return stamps


def test_noise_measures_a_source_in_units_of_its_sky() -> None:
    found = encoder_input(sky(200), NOISE)
    assert np.median(np.sinh(4 * found[:, :, 10, 10])) == pytest.approx(100, rel=0.05)
    assert np.abs(np.median(found)) < 0.01


def test_noise_does_not_see_gain_or_background() -> None:
    stamps = sky()
    np.testing.assert_allclose(encoder_input(3 * stamps + 40, NOISE), encoder_input(stamps, NOISE), atol=2e-3)


def test_a_signal_is_cut_off_at_a_million_times_the_noise_on_both_sides() -> None:
    stamps = np.linspace(-1, 1, 441, dtype=np.float32).reshape(1, 1, 21, 21)
    stamps[0, 0, 0, 0], stamps[0, 0, 20, 20] = -1e12, 1e12
    found = signal_to_noise(stamps)
    assert (found.min(), found.max()) == (-1e6, 1e6)
    assert np.abs(found[0, 0, 1:-1]).max() < 2


def test_minmax_is_the_convention_of_the_seeds() -> None:
    found = encoder_input(sky(), Preprocessing())
    assert found.min(axis=(2, 3)).tolist() == [[0.0] * 3] * 4
    assert found.max(axis=(2, 3)).tolist() == [[1.0] * 3] * 4


@pytest.mark.parametrize("normalisation", ["minmax", "noise"])
@pytest.mark.parametrize("fill", [np.nan, MASKED, 0.0, 7.0])
def test_any_stamp_gives_finite_pixels(normalisation: str, fill: float) -> None:
    stamps = sky()
    stamps[0] = fill
    stamps[1, 1, :4] = fill
    stamps[2, 0, 3, 3] = np.finfo(np.float32).max
    assert np.isfinite(encoder_input(stamps, Preprocessing(normalisation=normalisation))).all()


@pytest.mark.parametrize("normalisation", ["minmax", "noise"])
def test_a_masked_pixel_is_one_that_is_missing(normalisation: str) -> None:
    masked, missing = sky(), sky()
    masked[:, 1, :3], missing[:, 1, :3] = MASKED, np.nan
    settings = Preprocessing(normalisation=normalisation)
    np.testing.assert_array_equal(encoder_input(masked, settings), encoder_input(missing, settings))


@pytest.mark.parametrize("normalisation", ["minmax", "noise"])
def test_an_alert_does_not_depend_on_its_batch(normalisation: str) -> None:
    stamps, settings = sky(33), Preprocessing(normalisation=normalisation)
    alone = np.concatenate([encoder_input(stamp[None], settings) for stamp in stamps])
    np.testing.assert_array_equal(encoder_input(stamps, settings), alone)
    assert encoder_input(stamps[:0], settings).shape == (0, 3, 21, 21)


def test_an_unknown_normalisation_names_those_there_are() -> None:
    with pytest.raises(ValueError, match="'zscore'; it is 'minmax' or 'noise'"):
        Preprocessing(normalisation="zscore")
