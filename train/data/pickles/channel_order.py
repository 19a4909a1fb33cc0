"""Whether stamps have their channels in the order that is said of them: told by what a source does in each."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from train.data.stamp_set import DatasetError

LASTING: Final = ("AGN", "VS")
"""Classes whose source stands in the template too."""
NEW: Final = "SN"
"""Class whose source does not."""
COMPARED: Final = 2000
CLEARLY: Final = 4.0
"""Standard errors by which the stamps must speak for another order before a file is refused."""


def check_channels(
    images: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: tuple[str, ...],
    channels: tuple[str, ...],
    where: str,
) -> None:
    """Raises DatasetError where images (N, …) clearly have another order of channels than they are said to have.

    Of a source that lasts, the difference is the channel least like the other two. Of a new one the template is, and
    the difference is more like the science image. A few stamps that speak against it are no proof: CLEARLY is.
    """
    lasting = _alike(images, np.isin(labels, [classes.index(name) for name in LASTING]))
    new = _alike(images, labels == classes.index(NEW))
    science, template, difference = (channels.index(name) for name in ("science", "template", "difference"))
    least = int(np.argmin(lasting.sum(axis=(0, 2))))
    found = ""
    if _clearly(lasting[:, difference].sum(axis=1) - lasting[:, least].sum(axis=1)):
        found = f"the channel least like the others is the one called {channels[least]}"
    elif _clearly(new[:, difference, template] - new[:, difference, science]):
        found = "what is new is in the channel called template"
    if found:
        order = ", ".join(channels)
        raise DatasetError(f"{where}: {found}, so the order {order} is wrong; give --channels in the file's order")


def _alike(images: NDArray[np.float32], chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(n, 3, 3): size of the correlation between the channels of each chosen stamp, the first of a sequence."""
    some = images[np.flatnonzero(chosen)[:COMPARED]]
    first = some[:, 0] if some.ndim == 5 else some
    pixels = first.astype(np.float64).reshape(len(first), math.prod(first.shape[1:3]), first.shape[3])
    pixels -= pixels.mean(axis=1, keepdims=True)
    length = np.sqrt(np.square(pixels).sum(axis=1, keepdims=True))
    pixels = (pixels / np.where(length > 0, length, 1))[(length > 0).all(axis=(1, 2))]
    return np.asarray(np.abs(np.einsum("npa,npb->nab", pixels, pixels)))


def _clearly(margin: NDArray[np.float64]) -> bool:
    """Whether values (n,) are above 0 on average, and not by chance."""
    return len(margin) > 1 and bool(margin.mean() > CLEARLY * margin.std(ddof=1) / np.sqrt(len(margin)))
