"""The models on their device: stamps → latents and class probabilities, histories → class probabilities.

Rows go through in a few fixed shapes, padded with zeros. A shape changes the last bits of a result, and these do not,
so an alert's answer does not depend on how the stream fell into batches.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import structlog
import torch
from numpy.typing import NDArray

from consumer.encoding import ready
from consumer.errors import ConfigError
from consumer.history import History
from model_zoo.checkpoint import Checkpoint
from model_zoo.device import check_device_name
from model_zoo.metadata import metadata_input
from model_zoo.preprocess import encoder_input

CPU_ROWS: Final = (8, 16, 32, 64)
"""On a CPU, 64 rows keep the feature maps in cache: larger chunks were three times slower an alert."""
GPU_ROWS: Final = (64, 512, 2048)
SEQUENCE_ROWS: Final = (*CPU_ROWS, 128, 256)
"""Sequences are small beside feature maps: what a step costs is shared by more of them."""
STEPS: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 80, 96, 104, 112, 128)
"""Lengths that histories are padded to; longer ones to a multiple of the last."""

log = structlog.get_logger()


def choose_device(asked: str) -> torch.device:
    """The device for `auto`, `cpu`, `cuda` or `cuda:N`, its reason logged. Raises ConfigError for a GPU not there."""
    if asked == "auto":
        available = torch.cuda.is_available()
        reason = "a GPU is available" if available else "no GPU is available"
        device = torch.device("cuda" if available else "cpu")
    else:
        reason = "asked for"
        device = _device_named(asked)
    log.info("device_chosen", device=str(device), asked=asked, reason=reason)
    return device


def _device_named(asked: str) -> torch.device:
    try:
        device = torch.device(check_device_name(asked))
    except ValueError as error:
        raise ConfigError(f"model.device is {asked!r}: {error}") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"model.device is {asked!r} and {torch.cuda.device_count()} GPUs are here; set cpu or auto")
    return device


class Inference:
    """A checkpoint, ready on a device."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device) -> None:
        self.checkpoint = checkpoint
        self.device = device
        self._rows = CPU_ROWS if device.type == "cpu" else GPU_ROWS
        self._sequence_rows = SEQUENCE_ROWS if device.type == "cpu" else GPU_ROWS
        self._encoder = ready(checkpoint.encoder, device)
        for module in (checkpoint.mlp, checkpoint.recurrent):
            module.to(device)

    @torch.inference_mode()
    def encode(
        self, stamps: Sequence[NDArray[np.float32]], metadata: Sequence[tuple[float | None, ...]] = ()
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """N raw cuts (C, size, size) → latents (N, L) and each alert's own probabilities (N, classes), float32.

        metadata: of each alert the values of `mlp.config.fields`, None where missing; not looked at where it has none.
        """
        config = self.checkpoint.encoder_config
        latents = [torch.empty(0, config.latent)]
        probabilities = [torch.empty(0, len(self.checkpoint.classes))]
        columns = self._columns(metadata)
        for start, stop, rows in _chunks(len(stamps), self._rows):
            pixels = encoder_input(np.stack(stamps[start:stop]), self.checkpoint.preprocessing)
            latent = self._encoder(torch.from_numpy(_padded(pixels, rows)).to(self.device))
            latents.append(latent[: stop - start].cpu())
            beside = None if columns is None else torch.from_numpy(_padded(columns[start:stop], rows)).to(self.device)
            probabilities.append(self.checkpoint.mlp(latent, beside).softmax(dim=1)[: stop - start].cpu())
        return torch.cat(latents).numpy(), torch.cat(probabilities).numpy()

    @torch.inference_mode()
    def classify(self, histories: Sequence[History]) -> NDArray[np.float32]:
        """Histories → class probabilities (N, classes) float32. Those of like length go through together."""
        order = sorted(range(len(histories)), key=lambda row: len(histories[row]))
        results = np.empty((len(histories), len(self.checkpoint.classes)), np.float32)
        for start, stop, rows in _chunks(len(order), self._sequence_rows):
            chosen = order[start:stop]
            tensors = self._stacked([histories[row] for row in chosen], rows)
            results[chosen] = self.checkpoint.recurrent(*tensors).softmax(dim=1)[: stop - start].cpu().numpy()
        return results

    def _columns(self, metadata: Sequence[tuple[float | None, ...]]) -> NDArray[np.float32] | None:
        """(N, 2M), or None where the head takes no metadata."""
        config = self.checkpoint.mlp.config
        if not config.metadata:
            return None
        return metadata_input(np.array(metadata, np.float64).reshape(-1, len(config.fields)), config.metadata)

    def _stacked(self, histories: Sequence[History], rows: int) -> tuple[torch.Tensor, ...]:
        """latents (rows, T, L) float32, jd (rows, T) float64, band (rows, T) int64, lengths (rows,) int64."""
        longest = max(len(history) for history in histories)
        steps = next((steps for steps in STEPS if steps >= longest), -(-longest // STEPS[-1]) * STEPS[-1])
        latents = np.zeros((rows, steps, self.checkpoint.encoder_config.latent), np.float32)
        jd = np.zeros((rows, steps), np.float64)
        band = np.zeros((rows, steps), np.int64)
        lengths = np.ones(rows, np.int64)
        for row, history in enumerate(histories):
            length = lengths[row] = len(history)
            latents[row, :length], jd[row, :length], band[row, :length] = history.latents, history.jd, history.band
        return tuple(torch.from_numpy(column).to(self.device) for column in (latents, jd, band, lengths))


def _chunks(total: int, shapes: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """(start, stop, rows to pad to) of the pieces that `total` rows go through in; `shapes` ascend."""
    for start in range(0, total, shapes[-1]):
        stop = min(start + shapes[-1], total)
        yield start, stop, next(rows for rows in shapes if rows >= stop - start)


def _padded(rows: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    if len(rows) == count:
        return rows
    return np.concatenate([rows, np.zeros((count - len(rows), *rows.shape[1:]), np.float32)])
