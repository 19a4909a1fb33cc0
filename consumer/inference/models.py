"""The models on their device: stamps → latents and class probabilities, histories → class probabilities.

An alert's answer does not depend on how the stream falls into batches. The heads, and the encoder's projection, compute
each row by itself: see `model_zoo.serving.kernels`. What numpy and the convolutions do is proven at start not to depend
on the batch, and where it does, alerts go through one by one: see `consumer.inference.batching`.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import structlog
import torch
from numpy.typing import NDArray

from consumer.errors import ConfigError
from consumer.inference.batching import CPU_SHAPES, GPU_SHAPES, Shapes, pieces, proven_shapes
from consumer.store.sequences import SequencePrefix
from model_zoo.checkpoint import Checkpoint
from model_zoo.checks import device_named
from model_zoo.metadata import metadata_input
from model_zoo.preprocess import encoder_input
from model_zoo.serving.encoder import ServingEncoder
from model_zoo.serving.heads import MlpHead, RecurrentHead

SKY: Final = 200.0
"""Counts of the sample's sky, and of its sources: any numbers of the size that real stamps have."""

log = structlog.get_logger()


def choose_device(name: str) -> torch.device:
    """The device for `auto`, `cpu`, `cuda` or `cuda:N`, logged. Raises ConfigError for a GPU that is not there."""
    try:
        device = device_named(name)
    except ValueError as error:
        raise ConfigError(f"model.device is {name!r}: {error}") from error
    log.info("device_chosen", device=str(device), requested=name)
    return device


class Inference:
    """A checkpoint, ready on a device. shapes: of the pieces in which alerts go through the encoder."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device) -> None:
        self.checkpoint = checkpoint
        self.device = device
        if device.type == "cuda":  # float32 throughout, or answers would be a thousand times further from a CPU's
            torch.backends.cudnn.allow_tf32 = False
            torch.backends.cudnn.deterministic = True
        self._encoder = ServingEncoder(checkpoint.encoder, device)
        self._alert_head = MlpHead(checkpoint.mlp)
        self._sequence_head = RecurrentHead(checkpoint.recurrent)
        self.shapes = self._proven_shapes(CPU_SHAPES if device.type == "cpu" else GPU_SHAPES)

    @property
    def batched(self) -> bool:
        """Whether several alerts go through the encoder at once: elsewhere that would change their answers."""
        return self.shapes[0] > 1

    def encode(
        self, stamps: Sequence[NDArray[np.float32]], metadata: Sequence[tuple[float | None, ...]] = ()
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """N raw cuts (C, size, size) → latents (N, L) and each alert's own probabilities (N, classes), float32.

        metadata: of each alert the values of `mlp.config.fields`, None where missing; not looked at where it has none.
        """
        fields = len(self.checkpoint.mlp.config.fields)
        values = np.array(metadata, np.float64).reshape(-1, fields) if fields else np.empty((len(stamps), 0))
        latents, columns = self._encoded(stamps, values, self.shapes)
        return latents, self._alert_head(latents, columns)

    def classify(self, histories: Sequence[SequencePrefix]) -> NDArray[np.float32]:
        """Histories → class probabilities (N, classes) float32."""
        if not histories:
            return np.empty((0, len(self.checkpoint.classes)), np.float32)
        return self._sequence_head(
            np.concatenate([history.latents for history in histories]),
            np.concatenate([history.jd for history in histories]),
            np.concatenate([history.band for history in histories]),
            np.array([len(history) for history in histories], np.int64),
        )

    @torch.inference_mode()
    def _encoded(
        self, stamps: Sequence[NDArray[np.float32]], values: NDArray[np.float64], shapes: Shapes
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Latents (N, L), and metadata as the head takes it (N, 2M), in pieces of `shapes`."""
        config = self.checkpoint.mlp.config
        latents = np.empty((len(stamps), self.checkpoint.encoder_config.latent), np.float32)
        columns = np.empty((len(stamps), 2 * len(config.metadata)), np.float32)
        for start, stop, rows in pieces(len(stamps), shapes):
            pixels = encoder_input(np.stack(stamps[start:stop]), self.checkpoint.preprocessing)
            latents[start:stop] = self._encoder(_padded(pixels, rows))[: stop - start]
            if config.metadata:
                columns[start:stop] = metadata_input(values[start:stop], config.metadata)
        return latents, columns

    def _proven_shapes(self, candidates: Sequence[Shapes]) -> Shapes:
        """What `proven_shapes` finds with stamps of noise around a source, and metadata of noise."""
        rows, (channels, size) = candidates[0][0], self._planes()
        random = np.random.default_rng(0)
        stamps = random.normal(SKY, np.sqrt(SKY), (rows, channels, size, size)).astype(np.float32)
        stamps[:, :, size // 2, size // 2] += random.uniform(0, SKY * SKY, (rows, channels))
        values = random.normal(18, 3, (rows, len(self.checkpoint.mlp.config.fields)))

        def encode(numbers: NDArray[np.intp], shapes: Shapes) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            return self._encoded(list(stamps[numbers]), values[numbers], shapes)

        return proven_shapes(encode, candidates)

    def _planes(self) -> tuple[int, int]:
        """Channels and side of the encoder's input."""
        preprocessing = self.checkpoint.preprocessing
        return len(preprocessing.channels), preprocessing.size


def _padded(rows: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    if len(rows) == count:
        return rows
    return np.concatenate([rows, np.zeros((count - len(rows), *rows.shape[1:]), np.float32)])
