"""Seed 001's convolutional autoencoder: the serving encoder's trunk, and the decoder that mirrors it."""

from dataclasses import dataclass, field

import torch
from torch import nn

from model_zoo.classifier.encoder import STRIDES, WIDTH, EncoderConfig, build_encoder


@dataclass(frozen=True, slots=True)
class AutoencoderConfig:
    """encoder: trunk and latent length. rectified: end in a ReLU, as seed 001 does on pixels in [0, 1]."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    rectified: bool = True


class Autoencoder(nn.Module):
    """Stamps (N, C, S, S) float32 in [0, 1] → reconstructions of the same shape.

    Parameters are named `encoder.N` and `decoder.N` as in seed 001, so that its `state_dict` loads.
    """

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config.encoder)
        self.decoder = build_decoder(config)

    def forward(self, stamps: torch.Tensor) -> torch.Tensor:
        reconstruction: torch.Tensor = self.decoder(self.encoder(stamps))
        return reconstruction


def sides(size: int) -> list[int]:
    """Sides of the distinct feature maps of the encoder, input first: 21 → [21, 11, 6]."""
    found = [size]
    for stride in STRIDES:
        if stride > 1:
            found.append(-(-found[-1] // stride))
    return found


def build_decoder(config: AutoencoderConfig) -> nn.Sequential:
    """(N, latent) → (N, channels, size, size): a projection, two convolutions a scale, nearest-neighbour upsampling."""
    shape, maps = config.encoder, sides(config.encoder.size)
    layers: list[nn.Module] = [
        nn.Linear(shape.latent, WIDTH * shape.reduced**2),
        nn.ReLU(),
        nn.Unflatten(1, (WIDTH, shape.reduced, shape.reduced)),
    ]
    for side in reversed(maps[:-1]):
        layers += [*_convolution(), *_convolution(), nn.Upsample(size=(side, side), mode="nearest")]
    layers += [*_convolution(), nn.Conv2d(WIDTH, shape.channels, 3, padding=1)]
    return nn.Sequential(*layers, *([nn.ReLU()] if config.rectified else []))


def _convolution() -> list[nn.Module]:
    return [nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.BatchNorm2d(WIDTH), nn.ReLU()]
