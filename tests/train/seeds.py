"""Small pickles in the layouts of the seeds' five, drawn from noise with a class-dependent blob."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

COUNTS = {"Train": 60, "Validation": 15, "Test": 15}


def stamps(rows: int, side: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(rows, side, side, 3) in the order difference, science, template, and labels of five classes in turn."""
    draw = np.random.default_rng(seed)
    label = np.arange(rows) % 5
    sky = draw.random((rows, side, side)) * 0.2
    axis = np.arange(side) - side // 2
    blob = np.exp(-(axis[:, None] ** 2 + axis**2) / (2.0 + 4 * label[:, None, None]))
    science = np.clip(sky + blob, 0, 1)
    template = np.clip(sky + 0.7 * blob + draw.random(sky.shape) * 0.05, 0, 1)
    difference = draw.random(sky.shape)
    return np.stack([difference, science, template], axis=-1).astype(np.float32), label


def single(side: int = 21, key: str = "class") -> dict[str, Any]:
    """Trap 2 included: rows repeat in train and `oid` is shorter than the images."""
    content = {}
    for seed, (split, rows) in enumerate(COUNTS.items()):
        images, label = stamps(rows, side, seed)
        typed = label.astype(np.float64) if split == "Train" else label
        oid = [f"ZTF{row}" for row in range(rows - 10 if split == "Train" else rows)]
        features = np.random.default_rng(seed).random((rows, 26))
        content[split] = {"images": images, "features": features, "oid": oid, key: typed}
    return content


def sequences(length: int = 5, side: int = 21) -> dict[str, Any]:
    content = {}
    for seed, (split, rows) in enumerate(COUNTS.items()):
        images, label = stamps(rows * length, side, seed)
        shaped = images.reshape(rows, length, side, side, 3)
        content[split] = {
            "difference": shaped[..., 0],
            "science": shaped[..., 1],
            "template": shaped[:, 0, ..., 2],
            "labels": label[:rows] % 3,
        }
    return content


def write(path: Path, content: Any) -> Path:
    path.write_bytes(pickle.dumps(content))
    return path
