"""Seed 001's linear probe: what a linear layer can read from a frozen latent."""

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True, slots=True)
class ProbeConfig:
    """latent: length L of the input. classes: number of outputs."""

    latent: int = 42
    classes: int = 5


class LinearProbe(nn.Module):
    """Raw latents (N, L) float32 → logits (N, classes). The parameter is named `linear`, as in seed 001."""

    def __init__(self, config: ProbeConfig) -> None:
        super().__init__()
        self.config = config
        self.linear = nn.Linear(config.latent, config.classes)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.linear(latents)
        return logits
