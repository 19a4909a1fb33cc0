"""The models as torch runs them, for the row of the table that says what independence of the batch costs."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from consumer.inference.models import Inference
from consumer.store.sequences import SequencePrefix
from model_zoo.metadata import metadata_input
from model_zoo.preprocess import encoder_input
from model_zoo.serving.encoder import _convolutions

ROWS = 64
"""Alerts that go through the encoder at once, as in `Inference`."""


class PlainInference(Inference):
    """`Inference` whose linear layers and heads are torch's: last bits of an answer follow the shape of its batch.

    The encoder is folded and packed like the one that serves, so that only what independence needs is different.
    """

    def __init__(self, inference: Inference) -> None:
        self.checkpoint, self.device, self.shapes = inference.checkpoint, inference.device, inference.shapes
        self._plain_encoder = _convolutions(self.checkpoint.encoder, self.device)

    @torch.inference_mode()
    def encode(
        self, stamps: Sequence[NDArray[np.float32]], metadata: Sequence[tuple[float | None, ...]] = ()
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """As `Inference.encode`."""
        config, latents, probabilities = self.checkpoint.mlp.config, [], []
        for start in range(0, len(stamps), ROWS):
            pixels = encoder_input(np.stack(stamps[start : start + ROWS]), self.checkpoint.preprocessing)
            latents.append(self._plain_encoder(torch.from_numpy(pixels)))
            columns = None
            if config.metadata:
                values = np.array(metadata[start : start + ROWS], np.float64).reshape(-1, len(config.fields))
                columns = torch.from_numpy(metadata_input(values, config.metadata))
            probabilities.append(self.checkpoint.mlp(latents[-1], columns).softmax(1))
        return torch.cat(latents).numpy(), torch.cat(probabilities).numpy()

    @torch.inference_mode()
    def classify(self, histories: Sequence[SequencePrefix]) -> NDArray[np.float32]:
        """As `Inference.classify`; sequences are padded to the longest of the call."""
        lengths = np.array([len(history) for history in histories], np.int64)
        shape = len(histories), int(lengths.max(initial=1))
        latents = np.zeros((*shape, self.checkpoint.encoder_config.latent), np.float32)  # (N, T, L)
        jd, band = np.zeros(shape, np.float64), np.zeros(shape, np.int64)  # (N, T)
        for row, history in enumerate(histories):
            latents[row, : len(history)] = history.latents
            jd[row, : len(history)], band[row, : len(history)] = history.jd, history.band
        tensors = (torch.from_numpy(array) for array in (latents, jd, band, lengths))
        probabilities: NDArray[np.float32] = self.checkpoint.recurrent(*tensors).softmax(1).numpy()
        return probabilities
