"""Real and simulated alerts side by side: pixel statistics, candidate fields, distances of their distributions."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from train.data.alert_table import AlertTable
from train.simulation.datasets.sample import alert_features, raw_images, sample_alerts
from train.simulation.images.stamps import draw_alert_stamps, generators
from train.simulation.nights.plan import concatenate_plans
from train.simulation.random import Floats, Ints, KeyedRandom, Pixels
from train.simulation.sources.source import LABELS

CHANNELS = ("science", "template", "difference")
CHUNK = 128


@dataclass(frozen=True, slots=True)
class Gallery:
    """Alerts to compare.

    stamps: (N, 3, 63, 63) float32 in DN, NaN where there is nothing. label: (N,). group: (N,) object names.
    fields: (N, F) candidate fields named by `FEATURES`, NaN or −999 where there is none.
    """

    stamps: Pixels
    label: Ints
    group: NDArray[np.str_]
    fields: Floats

    def of(self, label: int) -> "Gallery":
        """The alerts of one class."""
        rows = np.flatnonzero(self.label == label)
        return Gallery(self.stamps[rows], self.label[rows], self.group[rows], self.fields[rows])


def observed(table: AlertTable) -> Gallery:
    """Real alerts, as the consumer reads them; their metadata are features."""
    return Gallery(table.stamps, table.label, table.object_id, table.metadata)


def simulated(seed: int, counts: dict[str, int]) -> Gallery:
    """As many simulated alerts of each class as asked for, each of another object."""
    random = KeyedRandom(seed)
    plan = concatenate_plans([sample_alerts(random, label, count) for label, count in counts.items() if count])
    stamps, fields = [], []
    for start in range(0, len(plan), CHUNK):
        part = plan.take(slice(start, start + CHUNK))
        seen = draw_alert_stamps(random, part, generators(seed, part))
        stamps.append(raw_images(seen))
        fields.append(alert_features(random, part, seen))
    names = np.array([f"simulated {row}" for row in range(len(plan))])
    return Gallery(np.concatenate(stamps), plan.label, names, np.concatenate(fields))


def crude(seed: int, label: Ints) -> Gallery:
    """The control that a discriminator must tell from real stamps: round Gaussian blobs on white noise, one a label."""
    rng = np.random.default_rng(seed)
    count, grid = len(label), np.arange(63) - 31.0
    away2 = grid[None, :] ** 2 + grid[:, None] ** 2
    width = rng.uniform(1.0, 1.8, (count, 1, 1, 1))
    height = rng.lognormal(3.0, 1.0, (count, 3, 1, 1))
    named = np.array(LABELS)[label]
    height[(named == "asteroid") | (named == "bogus"), 1] = 0.0
    stamps = rng.standard_normal((count, 3, 63, 63)) + height * np.exp(-0.5 * away2 / width**2)
    names = np.array([f"control {row}" for row in range(count)])
    return Gallery(stamps.astype(np.float32), label, names, np.empty((count, 0)))


def _sigma(images: Pixels) -> Floats:
    low, high = np.nanpercentile(images, [25, 75], axis=(1, 2))
    sigma: Floats = (high - low) / 1.349
    return sigma


def _neighbour_correlation(images: Pixels, sigma: Floats, axis: int) -> Floats:
    """Correlation of adjacent pixels within three sigmas of the level, along an axis."""
    flat = np.where(np.abs(images) < 3.0 * sigma[:, None, None], images, np.nan).astype(np.float64)
    shifted = np.roll(flat, -1, axis=axis)
    inside = [slice(None), slice(None), slice(None)]
    inside[axis] = slice(0, -1)
    product = (flat * shifted)[tuple(inside)]
    correlation: Floats = np.nanmean(product, axis=(1, 2)) / np.nanvar(flat, axis=(1, 2))
    return correlation


def pixel_statistics(stamps: Pixels) -> dict[str, Floats]:
    """Numbers that describe stamps (N, 3, 63, 63), each (N,): level, noise, peak, concentration, correlation, NaN."""
    out: dict[str, Floats] = {}
    for place, channel in enumerate(CHANNELS):
        images = stamps[:, place]
        level, sigma = np.nanmedian(images, axis=(1, 2)), _sigma(images)
        bare = images - level[:, None, None]
        core = np.nan_to_num(bare[:, 26:37, 26:37])
        out[f"{channel} level"], out[f"{channel} noise"] = level, sigma
        out[f"{channel} peak / noise"] = core.max(axis=(1, 2)) / sigma
        out[f"{channel} concentration"] = core.max(axis=(1, 2)) / np.maximum(core.sum(axis=(1, 2)), sigma)
        out[f"{channel} bright pixels"] = (bare > 8.0 * sigma[:, None, None]).sum(axis=(1, 2)).astype(float)
        out[f"{channel} correlation x"] = _neighbour_correlation(bare, sigma, 2)
        out[f"{channel} correlation y"] = _neighbour_correlation(bare, sigma, 1)
    return out | {"NaN share": np.isnan(stamps[:, 0]).mean(axis=(1, 2))}


def distance(first: Floats, second: Floats) -> float:
    """Kolmogorov and Smirnov's distance of two samples, 0 to 1; values that mean "none" count as one value."""
    low, high = (np.sort(np.where(np.isfinite(v), v, -999.0)) for v in (first, second))
    places = np.concatenate([low, high])
    shares = [np.searchsorted(v, places, side="right") / len(v) for v in (low, high)]
    return float(np.abs(shares[0] - shares[1]).max())
