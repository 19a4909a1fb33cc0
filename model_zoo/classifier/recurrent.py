"""The recurrent head: a sequence of latents with their times and bands → one class."""

from dataclasses import dataclass

import torch
from torch import nn

from model_zoo.checks import WIDEST, check_counts, check_share
from model_zoo.classes import BANDS

TIME_FEATURES = 2
DEEPEST = 64


@dataclass(frozen=True, slots=True)
class RecurrentConfig:
    """latent: length L of each element. hidden: width of the GRU. layers: its depth. classes: outputs."""

    latent: int = 42
    hidden: int = 64
    layers: int = 1
    classes: int = 5
    dropout: float = 0.3

    def __post_init__(self) -> None:
        check_counts(self, latent=WIDEST, hidden=WIDEST, layers=DEEPEST, classes=WIDEST)
        check_share(self, "dropout")


class Recurrent(nn.Module):
    """GRU over sequences of any length, padded on the right and read at the last valid step.

    A step sees the standardised latent, log(1 + days) since the step before and since the first, and the band one-hot.
    Padding on the right cannot reach a valid step, so the answer does not depend on it.
    """

    mean: torch.Tensor
    deviation: torch.Tensor
    temperature: torch.Tensor

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.zeros(config.latent))
        self.register_buffer("deviation", torch.ones(config.latent))
        self.register_buffer("temperature", torch.ones(()))
        self.gru = nn.GRU(config.latent + TIME_FEATURES + len(BANDS), config.hidden, config.layers, batch_first=True)
        self.head = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(config.hidden, config.classes))

    def forward(
        self, latents: torch.Tensor, jd: torch.Tensor, band: torch.Tensor, lengths: torch.Tensor
    ) -> torch.Tensor:
        """Latents (N, T, L) float32, jd (N, T) float64 days, band (N, T) int64, lengths (N,) → logits (N, classes)."""
        steps, _ = self.gru(self.features(latents, jd, band))
        last = steps[torch.arange(len(lengths), device=steps.device), lengths - 1]
        logits: torch.Tensor = self.head(last)
        return logits / self.temperature

    def features(self, latents: torch.Tensor, jd: torch.Tensor, band: torch.Tensor) -> torch.Tensor:
        """(N, T, L + 5) float32. Differences of jd are taken in float64: a day is 4e-7 of a Julian date."""
        since_last = torch.diff(jd, dim=1, prepend=jd[:, :1]).clamp(min=0)
        since_first = (jd - jd[:, :1]).clamp(min=0)
        days = torch.stack([since_last, since_first], dim=-1).log1p().to(latents.dtype)
        known = torch.tensor(BANDS, device=band.device)
        bands = (band.unsqueeze(-1) == known).to(latents.dtype)
        return torch.cat([(latents - self.mean) / self.deviation, days, bands], dim=-1)
