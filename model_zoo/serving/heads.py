"""The heads as they serve: the same functions as the torch modules they are made from, by `cpu_kernels`.

A few microseconds an alert, so they run on the CPU whatever device the encoder's convolutions run on. torch's modules
are what is trained and what is stored; answers agree with theirs to float32 rounding.
"""

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from model_zoo.classes import BANDS
from model_zoo.classifier.mlp import Mlp
from model_zoo.classifier.recurrent import TIME_FEATURES, Recurrent
from model_zoo.serving import kernels

Floats = NDArray[np.float32]

LANES: Final = 16
"""Outputs are padded to a multiple of as many float32 as the widest registers hold: what is left over is slow."""


class Linear:
    """rows (N, K) float32 → (N, J) float32: a torch layer's product, each row's bits its own."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        self.outputs, inputs = weight.shape
        padded = -(-self.outputs // LANES) * LANES
        self.weight, self.bias = np.zeros((inputs, padded), np.float32), np.zeros(padded, np.float32)
        self.weight[:, : self.outputs] = _array(weight).T
        self.bias[: self.outputs] = _array(bias)

    @classmethod
    def of(cls, layer: nn.Module) -> "Linear":
        if not isinstance(layer, nn.Linear):
            raise TypeError(f"a head has {type(layer).__name__} where a linear layer is expected")
        return cls(layer.weight, layer.bias)

    def __call__(self, rows: Floats) -> Floats:
        out = np.empty((len(rows), len(self.bias)), np.float32)
        kernels.linear(np.ascontiguousarray(rows), self.weight, self.bias, out)
        return np.ascontiguousarray(out[:, : self.outputs])


class MlpHead:
    """Latents (N, L) and metadata (N, 2M), M = 0 where the head takes none → class probabilities (N, classes)."""

    def __init__(self, mlp: Mlp) -> None:
        self._scale = _Scale(mlp)
        self._hidden, self._output = Linear.of(mlp.layers[0]), Linear.of(mlp.layers[-1])

    def __call__(self, latents: Floats, metadata: Floats) -> Floats:
        seen = self._scale.standardised(latents)
        if metadata.shape[1]:
            seen = np.concatenate([seen, metadata], axis=1)
        return self._scale.probabilities(self._output(np.maximum(self._hidden(seen), 0)))


class RecurrentHead:
    """Sequences of latents with their dates and bands → class probabilities at each sequence's last step."""

    def __init__(self, recurrent: Recurrent) -> None:
        self._scale = _Scale(recurrent)
        self._bands = np.array(BANDS)
        gru = recurrent.gru
        self._layers = [
            (
                Linear(getattr(gru, f"weight_ih_l{number}"), getattr(gru, f"bias_ih_l{number}")),
                np.ascontiguousarray(_array(getattr(gru, f"weight_hh_l{number}")).T),
                _array(getattr(gru, f"bias_hh_l{number}")),
            )
            for number in range(gru.num_layers)
        ]
        self._output = Linear.of(recurrent.head[-1])

    def __call__(
        self, latents: Floats, jd: NDArray[np.float64], band: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> Floats:
        """Latents (S, L), jd (S,), band (S,) of N sequences, one after another; lengths (N,) → (N, classes)."""
        longest_first = np.argsort(-lengths, kind="stable")
        ends = lengths.cumsum()
        starts = (ends - lengths)[longest_first]
        states = self._features(latents, jd, band, lengths)
        for of_input, weight, bias in self._layers:
            seen, states = of_input(states), np.empty((len(states), len(weight)), np.float32)
            kernels.gru(seen, starts, lengths[longest_first], weight, bias, states)
        return self._scale.probabilities(self._output(states[ends - 1]))

    def _features(
        self, latents: Floats, jd: NDArray[np.float64], band: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> Floats:
        """(S, L + 5) float32, as `Recurrent.features` makes them."""
        days = np.empty((len(jd), TIME_FEATURES), np.float32)
        kernels.elapsed(jd, lengths, days)
        bands = (band[:, None] == self._bands).astype(np.float32)
        return np.concatenate([self._scale.standardised(latents), days, bands], axis=1)


class _Scale:
    """The moments by which a head standardises latents, and the temperature of its logits."""

    def __init__(self, head: Mlp | Recurrent) -> None:
        self._mean, self._deviation = _array(head.mean), _array(head.deviation)
        self._temperature = np.float32(head.temperature.item())

    def standardised(self, latents: Floats) -> Floats:
        return (latents - self._mean) / self._deviation

    def probabilities(self, logits: Floats) -> Floats:
        probabilities = logits / self._temperature
        kernels.softmax(probabilities)
        return probabilities


def _array(tensor: torch.Tensor) -> Floats:
    array: Floats = tensor.detach().cpu().numpy()
    return array
