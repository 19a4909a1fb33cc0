"""The serving encoder: four convolutions and a projection, seed 001's trunk."""

from dataclasses import dataclass

import torch
from torch import nn

from model_zoo.checks import WIDEST, check_counts

WIDTH = 64
STRIDES = (1, 2, 1, 2)


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """channels: planes of the input. size: side of the input, pixels. latent: length L of the output."""

    channels: int = 3
    size: int = 21
    latent: int = 42

    def __post_init__(self) -> None:
        check_counts(self, channels=WIDEST, size=WIDEST, latent=WIDEST)

    @property
    def reduced(self) -> int:
        """Side of the last feature map: each stride of 2 halves it, rounding up."""
        side = self.size
        for stride in STRIDES:
            side = -(-side // stride)
        return side


def build_encoder(config: EncoderConfig) -> nn.Sequential:
    """(N, channels, size, size) float32 in [0, 1] → (N, latent) float32, no final activation.

    A plain `Sequential`, so that parameters are named `0.weight`, `1.weight`, … as in seed 001.
    """
    layers: list[nn.Module] = []
    incoming = config.channels
    for stride in STRIDES:
        layers += [nn.Conv2d(incoming, WIDTH, 3, stride, padding=1), nn.BatchNorm2d(WIDTH), nn.ReLU()]
        incoming = WIDTH
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(WIDTH * config.reduced**2, config.latent))


def freeze(module: nn.Module) -> nn.Module:
    """Stop gradients and batch statistics of `module`, in place."""
    return module.eval().requires_grad_(requires_grad=False)


def latent_moments(latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of latents (N, L) over N; a dead dimension gets deviation 1."""
    deviation = latents.std(dim=0)
    return latents.mean(dim=0), torch.where(deviation > 0, deviation, torch.ones_like(deviation))


class Supervised(nn.Module):
    """The encoder while it learns with labels: stamps (N, C, S, S) float32 → logits (N, classes).

    `encoder` is what serves; the linear layer behind it is thrown away. dropout: of the encoder's features.
    """

    def __init__(self, config: EncoderConfig, classes: int, dropout: float) -> None:
        super().__init__()
        self.encoder = build_encoder(config)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Sequential(nn.ReLU(), nn.Dropout(dropout), nn.Linear(config.latent, classes))

    def forward(self, stamps: torch.Tensor) -> torch.Tensor:
        features = self.dropout(self.encoder[:-1](stamps))
        logits: torch.Tensor = self.head(self.encoder[-1](features))
        return logits
