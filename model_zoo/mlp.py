"""The MLP head: one latent → one class, each alert alone."""

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True, slots=True)
class MlpConfig:
    """latent: length L of the input. hidden: width. classes: number of outputs. dropout: its probability."""

    latent: int = 42
    hidden: int = 128
    classes: int = 5
    dropout: float = 0.5


class Mlp(nn.Module):
    """Latents (N, L) float32 → logits (N, classes), over latents standardised by the stored moments."""

    mean: torch.Tensor
    deviation: torch.Tensor
    temperature: torch.Tensor

    def __init__(self, config: MlpConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.zeros(config.latent))
        self.register_buffer("deviation", torch.ones(config.latent))
        self.register_buffer("temperature", torch.ones(()))
        self.layers = nn.Sequential(
            nn.Linear(config.latent, config.hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, config.classes),
        )

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers((latents - self.mean) / self.deviation)
        return logits / self.temperature
