"""How the pipeline subtracts images: point-spread functions as they are and as it models them, registration, noise.

The subtraction is the proper one (Zackay, Ofek & Gal-Yam 2016). The difference keeps what the real one has: noise that
is white but for what the point-spread functions cannot tell apart, rings where a narrower function is divided by a
wider one, residues of bright stars.
"""

import numpy as np
from scipy.fft import irfft2, rfft2

from train.simulation.images.observation import Observations, is_kind, moment
from train.simulation.images.scene import PointSpread
from train.simulation.random import Complexes, Floats, KeyedRandom, Pixels

REGISTRATION_PIXELS = 0.06
DIPOLE_PIXELS = 0.45
TAPERED_SHARE = 0.45
BELIEF_SCATTER = 0.02  # relative error of the modelled width
RESIDUAL_SCATTER = 0.13  # the same where a star left a residual


def registration(random: KeyedRandom, obs: Observations) -> tuple[Floats, Floats]:
    """Pixels by which the reference is misplaced: a few hundredths, half a pixel where it made a dipole."""
    size = np.where(is_kind(obs, "dipole"), DIPOLE_PIXELS, REGISTRATION_PIXELS)
    keys = moment(obs)
    return size * random.normal("registration x", *keys), size * random.normal("registration y", *keys)


def taper_strength(random: KeyedRandom, obs: Observations) -> Floats:
    """How strongly each difference is tapered: the survey's practice changed over the years, and by exposure."""
    e = obs.exposures
    tapered = random.uniform("tapered", e.field, e.night) < TAPERED_SHARE
    return np.where(tapered, random.between(0.4, 1.4, "taper", e.field, e.night, e.band, obs.sources.channel), 0.0)


def reference_correlation(random: KeyedRandom, obs: Observations) -> tuple[Floats, Floats]:
    """Noise correlation at one and two pixels of each reference image along x and along y, (n, 2) each."""
    s, band = obs.sources, obs.exposures.band
    spread = [random.normal(f"reference correlation {axis}", s.field, s.channel, band) for axis in "xy"]
    second = np.full(len(obs), -0.13)
    return np.stack([0.165 + 0.03 * spread[0], second], axis=1), np.stack([0.2 + 0.025 * spread[1], second], axis=1)


def science_spread(obs: Observations) -> PointSpread:
    """The point-spread function of each exposure."""
    e = obs.exposures
    return PointSpread(e.seeing, e.ellipticity, e.coma_x, e.coma_y)


def reference_spread(obs: Observations) -> PointSpread:
    """The point-spread function of each reference image: a stack is rounder than its frames."""
    straight = np.zeros(len(obs))
    return PointSpread(obs.references.seeing, obs.references.ellipticity, straight, straight)


def believed_spread(random: KeyedRandom, obs: Observations, true: PointSpread, name: str) -> PointSpread:
    """The pipeline's model of a point-spread function: a little off, and far off where a star left a residual."""
    keys = moment(obs)
    wrong = np.where(is_kind(obs, "residual", "bleed"), RESIDUAL_SCATTER, BELIEF_SCATTER)
    return PointSpread(
        width=true.width * np.exp(wrong * random.normal(f"belief {name}", *keys)),
        ellipticity=true.ellipticity + 0.012 * random.normal(f"belief shape {name}", *keys),
        coma_x=0.5 * true.coma_x,
        coma_y=0.5 * true.coma_y,
    )


# autocorrelation at one, two and three pixels of the noise that the taper leaves, along x and y
TAPER_X = (0.055, -0.065, 0.045)
TAPER_Y = (0.06, -0.035, 0.03)
TAPER_LOSS = 0.07


def _transform(images: Pixels) -> Complexes:
    spectrum: Complexes = rfft2(images, axes=(-2, -1))
    return spectrum


def _inverse(spectrum: Complexes, side: int) -> Pixels:
    images: Pixels = irfft2(spectrum, s=(side, side), axes=(-2, -1))
    return images


def _angles(side: int) -> tuple[Floats, Floats]:
    """Angular frequencies along x (the half plane of `rfft2`) and y, radians a pixel."""
    return 2.0 * np.pi * np.fft.rfftfreq(side), 2.0 * np.pi * np.fft.fftfreq(side)


def subtract(
    science: Pixels,
    reference: Pixels,
    spreads: tuple[Complexes, Complexes],
    sigmas: tuple[Floats, Floats],
    strength: Floats | None = None,
) -> Pixels:
    """Difference images (n, G, G) in DN of the science image, flux-preserving for point sources.

    Both images are sky-subtracted and on one flux scale; `spreads` are the Fourier transforms of the point-spread
    functions that the pipeline believes in (science, reference); `sigmas` the noise of a pixel, DN, (n,) each;
    `strength` that of each row's `taper`.
    """
    of_science, of_reference = spreads
    noise, noise_ref = (sigma.astype(np.float32)[:, None, None] for sigma in sigmas)
    weight = noise**2 * np.abs(of_reference) ** 2 + noise_ref**2 * np.abs(of_science) ** 2
    top = of_reference * _transform(science) - of_science * _transform(reference)
    scale = np.sqrt(noise**2 + noise_ref**2)
    # the floor keeps frequencies where both functions vanish from dividing nought by nought
    spectrum = top * scale / np.sqrt(np.maximum(weight, 1e-8 * noise**2))
    if strength is not None:
        spectrum = spectrum * taper(strength, science.shape[-1])
    return _inverse(spectrum.astype(np.complex64), science.shape[-1])


def taper(strength: Floats, side: int) -> Pixels:
    """A filter for difference spectra, (n, side, side // 2 + 1): 1 at low frequencies, less at the highest.

    Real differences of some years (2018, 2024) have neighbours correlated by a few hundredths and 0.93 of the noise
    expected, those of others (2019, 2020) do not; `strength` 1 is the former, 0 the latter.
    """
    across, up = ((np.cos(np.outer((1, 2, 3), w))) for w in _angles(side))
    power_x = 1.0 + 2.0 * strength[:, None] * (np.array(TAPER_X) @ across)
    power_y = 1.0 + 2.0 * strength[:, None] * (np.array(TAPER_Y) @ up)
    scale = (1.0 - TAPER_LOSS * strength)[:, None, None]
    shape: Pixels = (scale * np.sqrt(power_y[:, :, None] * power_x[:, None, :])).astype(np.float32)
    return shape


def correlated(white: Pixels, along_x: Floats, along_y: Floats) -> Pixels:
    """White noise (n, G, G) given the autocorrelation of resampled frames, unit variance.

    `along_x`, `along_y`: (n, 2), the correlations at one and at two pixels. Stacks of real references have 0.2 and
    −0.11: the trace of the Lanczos kernel with which the frames were shifted before the sum.
    """
    side = white.shape[-1]
    waves = (np.cos(np.outer((1, 2), w)) for w in _angles(side))
    pairs = zip((along_x, along_y), waves, strict=True)
    across, up = (np.sqrt(np.maximum(1.0 + 2.0 * rho @ wave, 0.0)) for rho, wave in pairs)
    shape = (up[:, :, None] * across[:, None, :]).astype(np.float32)
    return _inverse(_transform(white) * shape, side)
