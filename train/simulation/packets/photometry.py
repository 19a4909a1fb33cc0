"""What the survey's pipeline would measure on a difference image: fits, apertures, shape and noise statistics."""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from train.simulation.images.observation import Observations
from train.simulation.images.scene import Points, axis, render_points
from train.simulation.images.subtraction import science_spread
from train.simulation.random import Floats, Ints, Pixels

FIT_SIDE, SKY_SIDE = 13, 31
APERTURE_RADIUS, BIG_APERTURE_RADIUS = 7.0, 9.0
MOMENT_SIGMA = 1.8
FLOOR_DN = 1e-3
DETECTED = 5.0  # errors; a fit below the survey's threshold raises no alert, so none is reported below it


@dataclass(frozen=True, slots=True)
class Measurement:
    """One row an alert: fluxes and errors in DN, sizes in pixels, ratios without unit."""

    flux: Floats
    error: Floats
    chi: Floats
    aperture: Floats
    big_aperture: Floats
    sky: Floats
    noise: Floats
    fwhm: Floats
    major: Floats
    minor: Floats
    negatives: Ints
    sum_ratio: Floats
    peak_ratio: Floats
    filtered_ratio: Floats


def _middle(images: Pixels, side: int) -> Floats:
    start = images.shape[-1] // 2 - side // 2
    return images[:, start : start + side, start : start + side].astype(np.float64)


def robust_sigma(images: Pixels) -> Floats:
    """Standard deviation of each image's pixels from the quartiles: sources do not move it."""
    low, high = np.nanpercentile(images[:, ::2, ::2], [25.0, 75.0], axis=(1, 2))
    sigma: Floats = np.maximum((high - low) / 1.349, FLOOR_DN).astype(np.float64)
    return sigma


def _profile(obs: Observations) -> Floats:
    """The exposure's point-spread function of unit flux at each source's place, (n, 13, 13)."""
    fx, fy = (fraction[:, None] for fraction in obs.fraction)
    one, none = np.ones_like(fx), np.zeros_like(fx)
    return render_points(Points(fx, fy, one, none, none), science_spread(obs), FIT_SIDE).astype(np.float64)


def _aperture(images: Pixels, obs: Observations, radius: float) -> Floats:
    side = 2 * int(radius) + 3
    fx, fy = obs.fraction
    grid = axis(side)
    away = np.hypot(grid[None, None, :] - fx[:, None, None], grid[None, :, None] - fy[:, None, None])
    total: Floats = (_middle(images, side) * np.clip(radius + 0.5 - away, 0.0, 1.0)).sum(axis=(1, 2))
    return total


def _moments(images: Pixels, obs: Observations) -> tuple[Floats, Floats]:
    """RMS (major, minor) axis lengths under a Gaussian window, as SExtractor's windowed profile, in pixels."""
    core = _middle(images, 9)
    fx, fy = obs.fraction
    x = axis(9)[None, None, :] - fx[:, None, None]
    y = axis(9)[None, :, None] - fy[:, None, None]
    weight = core * np.exp(-(x**2 + y**2) / (2.0 * MOMENT_SIGMA**2))
    total = np.maximum(weight.sum(axis=(1, 2)), FLOOR_DN)
    xx, yy, xy = (np.sum(weight * term, axis=(1, 2)) / total for term in (x * x, y * y, x * y))
    mean, split = 0.5 * (xx + yy), np.hypot(0.5 * (xx - yy), xy)
    limits = 0.15, 4.0
    return np.sqrt(np.clip(mean + split, *limits)), np.sqrt(np.clip(mean - split, *limits))


def _width(images: Pixels, flux: Floats, major: Floats, minor: Floats) -> Floats:
    """Full width at half maximum of a Gaussian core, from peak and flux, held near the moments'."""
    peak = np.maximum(_middle(images, 3).max(axis=(1, 2)), FLOOR_DN)
    from_peak = 2.355 * np.sqrt(np.maximum(flux, FLOOR_DN) / (2.0 * np.pi * peak))
    windowed = 2.355 / np.sqrt(np.maximum(1.0 / (major * minor) - 1.0 / MOMENT_SIGMA**2, 0.1))
    width: Floats = np.clip(np.sqrt(from_peak * windowed), 0.9, 12.0)
    return width


def _core_counts(images: Pixels) -> tuple[Ints, Floats]:
    core = _middle(images, 7)
    smoothed = np.median(sliding_window_view(core, (3, 3), axis=(1, 2)), axis=(3, 4))
    negatives = (core[:, 1:6, 1:6] < 0).sum(axis=(1, 2))
    ratio = smoothed.sum(axis=(1, 2)) / np.maximum(np.abs(smoothed).sum(axis=(1, 2)), FLOOR_DN)
    return negatives.astype(np.int64), ratio


def measure(images: Pixels, obs: Observations) -> Measurement:
    """Measure difference images (n, side, side), 21 pixels or more, turned so that sources are positive, unmasked."""
    noise = robust_sigma(images)
    sky = np.median(_middle(images, min(SKY_SIDE, images.shape[-1])), axis=(1, 2))
    level = images - sky.astype(np.float32)[:, None, None]
    profile, core = _profile(obs), _middle(level, FIT_SIDE)
    power = np.sum(profile**2, axis=(1, 2))
    flux = np.sum(profile * core, axis=(1, 2)) / power
    misfit = (core - flux[:, None, None] * profile)[:, 2:11, 2:11]
    chi = np.sum(misfit**2, axis=(1, 2)) / noise**2 / 80.0
    flux = np.maximum(flux, DETECTED * obs.exposures.flux_error(np.zeros_like(flux)))
    major, minor = _moments(level, obs)
    negatives, ratio = _core_counts(level)
    return Measurement(
        flux=flux, error=obs.exposures.flux_error(flux), chi=chi,
        aperture=np.maximum(_aperture(level, obs, APERTURE_RADIUS), noise),
        big_aperture=np.maximum(_aperture(level, obs, BIG_APERTURE_RADIUS), noise),
        sky=sky, noise=noise, fwhm=_width(level, flux, major, minor), major=major, minor=minor,
        negatives=negatives, sum_ratio=ratio,
        peak_ratio=_middle(level, 3).max(axis=(1, 2)) / noise,
        filtered_ratio=flux * np.sqrt(power) / noise,
    )  # fmt: skip
