"""Seed 000's autoencoder for 21×21 stamps, without batch normalisation, and the classifier on its encoder."""

from dataclasses import dataclass

import torch
from torch import nn

SIDE = 21
LATENT = 64


@dataclass(frozen=True, slots=True)
class ReconstructorConfig:
    """channels: planes of the input. sigmoid: end in one, as the reconstructor does and the classifiers' copy does not.

    classes, hidden, dropout: the classifier's output, width and dropout.
    """

    channels: int = 3
    sigmoid: bool = True
    classes: int = 5
    hidden: int = 128
    dropout: float = 0.5


class Reconstructor(nn.Module):
    """Stamps (N, C, 21, 21) float32 in [0, 1] → reconstructions of the same shape."""

    def __init__(self, config: ReconstructorConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config.channels)
        self.decoder = build_decoder(config)

    def forward(self, stamps: torch.Tensor) -> torch.Tensor:
        reconstruction: torch.Tensor = self.decoder(self.encoder(stamps))
        return reconstruction


class StampMlp(nn.Module):
    """Stamps (N, C, 21, 21) float32 → logits (N, classes): the encoder, and an MLP on its 64 numbers."""

    def __init__(self, config: ReconstructorConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config.channels)
        self.head = nn.Sequential(
            nn.Linear(LATENT, config.hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, config.classes),
        )

    def forward(self, stamps: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.encoder(stamps))
        return logits


def build_encoder(channels: int) -> nn.Sequential:
    """(N, channels, 21, 21) → (N, 64), rectified. Maps of side 18, 9 and 4: 64 × 4 × 4 are the seed's 1024."""
    return nn.Sequential(
        nn.Conv2d(channels, 32, 4),  # 21 → 18
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),  # 18 → 9
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),  # 9 → 4
        nn.Conv2d(64, 64, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(1024, LATENT),
        nn.ReLU(),
    )


def build_decoder(config: ReconstructorConfig) -> nn.Sequential:
    """(N, 64) → (N, channels, 21, 21)."""
    layers: list[nn.Module] = [
        nn.Linear(LATENT, 1024),
        nn.ReLU(),
        nn.Unflatten(1, (64, 4, 4)),
        nn.ConvTranspose2d(64, 64, 3, stride=2, padding=1, output_padding=1),  # 4 → 8
        nn.ReLU(),
        nn.ConvTranspose2d(64, 32, 3, stride=2, padding=1, output_padding=1),  # 8 → 16
        nn.ReLU(),
        nn.ConvTranspose2d(32, 16, 3, padding=1),
        nn.ReLU(),
        nn.Upsample(size=(SIDE, SIDE), mode="bilinear", align_corners=True),
        nn.ConvTranspose2d(16, config.channels, 3, padding=1),
    ]
    return nn.Sequential(*layers, *([nn.Sigmoid()] if config.sigmoid else []))
