"""Proper image subtraction (Zackay, Ofek & Gal-Yam 2016), as ZTF's pipeline does it.

The difference keeps what the real one has: noise that is white but for what the point-spread functions cannot tell
apart, rings where a narrower function is divided by a wider one, residues of bright stars.
"""

import numpy as np
from scipy.fft import irfft2, rfft2

from train.simulation.arrays import Complexes, Floats, Pixels


def _transform(images: Pixels) -> Complexes:
    spectrum: Complexes = rfft2(images, axes=(-2, -1))
    return spectrum


def _inverse(spectrum: Complexes, side: int) -> Pixels:
    images: Pixels = irfft2(spectrum, s=(side, side), axes=(-2, -1))
    return images


def subtract(
    science: Pixels, reference: Pixels, spreads: tuple[Complexes, Complexes], sigmas: tuple[Floats, Floats]
) -> Pixels:
    """Difference images (n, G, G) in DN of the science image, flux-preserving for point sources.

    Both images are sky-subtracted and on one flux scale; `spreads` are the Fourier transforms of the point-spread
    functions that the pipeline believes in (science, reference); `sigmas` the noise of a pixel, DN, (n,) each.
    """
    of_science, of_reference = spreads
    noise, noise_ref = (sigma.astype(np.float32)[:, None, None] for sigma in sigmas)
    weight = noise**2 * np.abs(of_reference) ** 2 + noise_ref**2 * np.abs(of_science) ** 2
    top = of_reference * _transform(science) - of_science * _transform(reference)
    scale = np.sqrt(noise**2 + noise_ref**2)
    # the floor keeps frequencies where both functions vanish from dividing nought by nought
    spectrum = top * scale / np.sqrt(np.maximum(weight, 1e-8 * noise**2))
    return _inverse(spectrum.astype(np.complex64), science.shape[-1])


def correlated(white: Pixels, neighbour: float, second: float) -> Pixels:
    """White noise (n, G, G) given the autocorrelation of resampled frames along each axis, unit variance.

    `neighbour` and `second` are the correlations at one and at two pixels; stacks of real references have 0.2 and
    −0.11: the trace of the Lanczos kernel with which the frames were shifted before the sum.
    """
    side = white.shape[-1]
    power = [
        np.maximum(1.0 + 2.0 * neighbour * np.cos(w) + 2.0 * second * np.cos(2 * w), 0.0)
        for w in (2.0 * np.pi * np.fft.fftfreq(side), 2.0 * np.pi * np.fft.rfftfreq(side))
    ]
    shape = np.sqrt(np.outer(power[0], power[1])).astype(np.float32)
    return _inverse(_transform(white) * shape, side)
