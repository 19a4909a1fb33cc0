"""The encoder made ready to serve: the same function of the same weights, in fewer passes over memory.

Latents agree with the trained encoder's to float32 rounding; estampa serves, and stores, these.
"""

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from model_zoo.serving.heads import Linear

ONEDNN: Final = torch.backends.mkldnn


class ServingEncoder:
    """Images (N, C, size, size) float32 → latents (N, L) float32.

    Each batch normalisation is folded into the convolution before it. The convolutions run on `device`; the projection
    behind them runs row by row on the CPU, since a matrix library's last bits follow the shape of the product.
    """

    def __init__(self, encoder: nn.Sequential, device: torch.device) -> None:
        *convolutions, projection = encoder
        self._device = device
        self._convolutions = _convolutions(nn.Sequential(*convolutions), device)
        self._projection = Linear.of(projection)

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        maps = self._convolutions(torch.from_numpy(images).to(self._device))
        return self._projection(maps.cpu().numpy())


def _convolutions(layers: nn.Sequential, device: torch.device) -> nn.Sequential:
    """On a CPU with oneDNN, weights are laid out beforehand as its kernels want them: 2.4 times faster than leaving
    that to every call.
    """
    folded = _folded(layers).to(device)
    return _packed(folded) if device.type == "cpu" and ONEDNN.is_available() else folded


def _folded(encoder: nn.Sequential) -> nn.Sequential:
    layers: list[nn.Module] = []
    for layer in encoder:
        if isinstance(layer, nn.BatchNorm2d) and layers and isinstance(layers[-1], nn.Conv2d):
            layers[-1] = fuse_conv_bn_eval(layers[-1], layer)
        else:
            layers.append(layer)
    return nn.Sequential(*layers)


def _packed(encoder: nn.Sequential) -> nn.Sequential:
    layers: list[nn.Module] = []
    for layer in encoder:
        if isinstance(layer, nn.ReLU) and layers and isinstance(layers[-1], PackedConvolution):
            layers[-1].after = "relu"
        else:
            layers.append(PackedConvolution(layer) if isinstance(layer, nn.Conv2d) else layer)
    return nn.Sequential(*layers)


class PackedConvolution(nn.Module):
    """A convolution whose weights lie in oneDNN's own layout. after: "relu", or "none"."""

    def __init__(self, plain: nn.Conv2d) -> None:
        super().__init__()
        self.after = "none"
        self._geometry = (plain.padding, plain.stride, plain.dilation, plain.groups)
        self._bias = plain.bias
        with torch.no_grad():
            self._weight = torch.ops.mkldnn._reorder_convolution_weight(plain.weight, *self._geometry)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) float32 → the convolution's maps, rectified where `after` says so."""
        maps: torch.Tensor = torch.ops.mkldnn._convolution_pointwise(
            images, self._weight, self._bias, *self._geometry, self.after, [], ""
        )
        return maps
