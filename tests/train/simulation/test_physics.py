"""Pieces of the sky against what is known of them: light, noise, positions, light curves."""

import numpy as np
import pytest

from model_zoo.coordinates import galactic
from train.simulation.datasets.sample import block_sequences
from train.simulation.images.exposure import exposures
from train.simulation.images.scene import Points, PointSpread, moffat, render_points, sersic
from train.simulation.images.subtraction import correlated, subtract
from train.simulation.nights.plan import plan_night
from train.simulation.packets.identity import (
    CYCLES,
    FIRST_NAME,
    MOST_KEYS,
    NAMES,
    ROWS_OF_TABLE,
    candids,
    detection_rows,
    object_ids,
    processing_ids,
)
from train.simulation.packets.packet import border_cut
from train.simulation.random import KeyedRandom
from train.simulation.sources import population
from train.simulation.sources.galaxies import damped_walk, draw_supernovae, supernova_flux
from train.simulation.sources.source import LABELS
from train.simulation.survey import NIGHT_ZERO_JD, fields, visit_schedule, visit_window


def spread(width: float, rows: int = 1) -> PointSpread:
    still = np.zeros(rows)
    return PointSpread(np.full(rows, width), still, still, still)


def point(flux: float, rows: int = 1) -> Points:
    at, none = np.full((rows, 1), 0.2), np.zeros((rows, 1))
    return Points(at, at, np.full((rows, 1), flux), none, none)


def test_a_star_keeps_its_flux_and_its_width() -> None:
    image = render_points(point(1000.0), spread(3.0), 80)[0]
    assert image.sum() == pytest.approx(1000.0, rel=0.01)
    above = image > image.max() / 2
    assert np.sqrt(above.sum() * 4 / np.pi) == pytest.approx(3.1, abs=0.35)


def test_mixtures_follow_the_profiles_they_stand_for() -> None:
    radius = np.linspace(0.2, 2.5, 50)
    for mixture, half in ((moffat(), 0.5), (sersic(1), None), (sersic(4), None)):
        bell = np.exp(-0.5 * (radius[:, None] / mixture.sigma) ** 2) / (2 * np.pi * mixture.sigma**2)
        profile = bell @ mixture.weight
        assert (np.diff(profile) < 0).all()
        if half:
            core = np.exp(-0.5 * (half / mixture.sigma) ** 2) / mixture.sigma**2 @ mixture.weight
            assert core / (mixture.weight / mixture.sigma**2).sum() == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize("index", [1, 4])
def test_half_a_galaxy_s_light_lies_within_its_half_light_radius(index: int) -> None:
    mixture = sersic(index)
    inside = mixture.weight @ (1.0 - np.exp(-0.5 / mixture.sigma**2))
    assert inside == pytest.approx(0.5, abs=0.06)


def test_subtraction_keeps_a_new_source_s_flux_and_whitens_the_noise() -> None:
    rng, rows, side = np.random.default_rng(0), 200, 80
    white = rng.standard_normal((2, rows, side, side), dtype=np.float32)
    new = render_points(point(3000.0, rows), spread(3.0, rows), side)
    spectra = spread(3.0, rows).transform(side), spread(2.4, rows).transform(side)
    sigmas = np.full(rows, 6.0), np.full(rows, 1.3)
    difference = subtract(new + 6.0 * white[0], 1.3 * white[1], spectra, sigmas)
    assert np.mean(difference[:, 24:56, 24:56].sum(axis=(1, 2))) == pytest.approx(3000.0, rel=0.05)
    corner = difference[:, :20, :20]
    assert corner.std() == pytest.approx(np.hypot(6.0, 1.3), rel=0.05)
    assert abs(np.mean(corner[:, :, 1:] * corner[:, :, :-1]) / corner.var()) < 0.12


def test_reference_noise_has_the_correlation_asked_for() -> None:
    rng = np.random.default_rng(1)
    rho = np.tile([0.21, -0.10], (200, 1))
    noise = correlated(rng.standard_normal((200, 64, 64), dtype=np.float32), rho, rho)
    assert noise.var() == pytest.approx(1.0, abs=0.02)
    assert np.mean(noise[:, :, 1:] * noise[:, :, :-1]) == pytest.approx(0.21, abs=0.01)
    assert np.mean(noise[:, :, 2:] * noise[:, :, :-2]) == pytest.approx(-0.10, abs=0.01)


def test_damped_random_walk_has_unit_variance_and_an_exponential_memory() -> None:
    key, tau = np.arange(4000), np.full(4000, 100.0)
    start, lag = np.full(4000, 2459000.0), 60.0
    walk = [damped_walk(KeyedRandom(2), key, tau, start + shift) for shift in (0.0, lag)]
    assert np.var(walk[0]) == pytest.approx(1.0, abs=0.06)
    assert np.mean(walk[0] * walk[1]) == pytest.approx(np.exp(-lag / 100.0), abs=0.06)


def test_supernovae_peak_at_their_epoch() -> None:
    sn = draw_supernovae(KeyedRandom(1), np.arange(400), np.full(400, 18))
    days = np.arange(-20.0, 60.0, 1.0)
    flux = np.stack([supernova_flux(KeyedRandom(1), sn, sn.epoch + d, np.full(400, 1)) for d in days])
    assert np.abs(days[flux.argmax(axis=0)]).max() <= 8.0
    assert (flux[0] < 0.75 * flux.max(axis=0)).all()
    assert np.median(flux[0] / flux.max(axis=0)) < 0.1


def test_fields_are_revisited_every_second_or_third_night_in_both_filters() -> None:
    starts = visit_window(1, 3300, 60)
    visited = np.isfinite(starts).all(axis=2)
    assert (np.isfinite(starts).all(axis=2) == np.isfinite(starts).any(axis=2)).all()
    gaps = np.concatenate([np.diff(np.flatnonzero(column)) for column in visited.T if column.sum() > 10])
    assert np.median(gaps) in (2, 3)
    assert gaps.min() >= 2


def test_exposures_of_a_night_do_not_overlap() -> None:
    _, _, jd = visit_schedule(1, 3288).visits()
    assert np.diff(jd).min() * 86400.0 >= 39.9
    assert 0.1 < (jd.min() - NIGHT_ZERO_JD) % 1.0 < (jd.max() - NIGHT_ZERO_JD) % 1.0 < 0.55


def test_conditions_lie_in_the_bands_of_real_alerts() -> None:
    field, night = np.meshgrid(np.arange(600), np.arange(3200, 3230))
    for band, sky, sigma, limit in (
        (1, (75, 125), (4.4, 6.0), (19.7, 20.6)),
        (2, (140, 245), (5.6, 8.0), (19.6, 20.5)),
    ):
        e = exposures(KeyedRandom(1), field.ravel(), night.ravel(), np.full(field.size, band), np.zeros(field.size))
        for values, (low, high) in ((e.sky, sky), (e.sigma, sigma), (e.limit, limit)):
            assert low < np.median(values) < high


def test_variable_stars_crowd_towards_the_galactic_plane() -> None:
    key = np.arange(20_000)
    latitude = {}
    for name in ("VS", "AGN"):
        drawn = population.draw_sources(KeyedRandom(1), np.full(len(key), LABELS.index(name)), key, np.zeros_like(key))
        latitude[name] = np.median(np.abs(galactic(drawn.ra, drawn.dec)[1]))
    assert latitude["VS"] + 12 < latitude["AGN"]


def test_sequences_reach_many_alerts() -> None:
    found = block_sequences(1, "VS", 0, 8)
    assert len(found) > 8
    assert (np.diff(found.jd.reshape(-1, 8), axis=1) > 0).all()


@pytest.mark.parametrize(
    ("column", "row", "width", "height"),
    [(1500.0, 1500.0, 63, 63), (3052.65, 1808.0, 51, 63), (3062.31, 331.8, 42, 63), (2875.6, 19.78, 63, 51)],
)
def test_borders_cut_stamps_as_they_cut_real_ones(column: float, row: float, width: int, height: int) -> None:
    """Places and sizes of the last three are those of real edge stamps."""
    rows, columns = border_cut(column, row)
    assert (columns.stop - columns.start, rows.stop - rows.start) == (width, height)


def test_draws_depend_on_their_keys_alone() -> None:
    random, keys = KeyedRandom(5), np.arange(100)
    together = random.normal("x", keys, 3)
    assert together[40] == random.normal("x", np.array([40]), 3)[0]
    assert not np.allclose(together, random.normal("y", keys, 3))
    assert not np.allclose(together, KeyedRandom(6).normal("x", keys, 3))


def test_uniform_and_normal_draws_have_their_moments() -> None:
    keys = np.arange(200_000)
    uniform, normal = KeyedRandom(1).uniform("u", keys), KeyedRandom(1).normal("n", keys)
    assert uniform.mean() == pytest.approx(0.5, abs=0.005)
    assert uniform.var() == pytest.approx(1 / 12, abs=0.002)
    assert normal.mean() == pytest.approx(0.0, abs=0.01)
    assert normal.var() == pytest.approx(1.0, abs=0.015)


def test_grid_has_the_survey_s_numbers() -> None:
    grid = fields()
    assert grid.number[0] == 245
    assert 500 < len(grid.number) < 900
    assert (np.abs(grid.galactic_latitude) <= 90).all()


def test_names_and_numbers_of_a_large_night_are_unique() -> None:
    plan = plan_night(1, 3288, 60_000)
    drawn = population.draw_sources(KeyedRandom(1), plan.label, plan.key, plan.cycle)
    names = object_ids(drawn)
    assert len(set(names)) == len({*zip(plan.label, plan.key, plan.cycle, strict=True)})
    numbers = candids(processing_ids(plan.jd, drawn.channel), detection_rows(drawn), plan.key % 2 == 0)
    assert len(np.unique(numbers)) == len(plan)


def test_names_of_a_year_do_not_run_out() -> None:
    assert FIRST_NAME[-1] + MOST_KEYS[LABELS[-1]] * CYCLES[LABELS[-1]] < NAMES
    for code, label in enumerate(LABELS):
        key = np.array([MOST_KEYS[label] - 1])
        last = population.draw_sources(KeyedRandom(1), np.array([code]), key, np.array([6600]))
        assert detection_rows(last)[0] < ROWS_OF_TABLE
