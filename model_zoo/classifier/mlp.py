"""The MLP head: one latent, and metadata where it takes any → one class, each alert alone."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import torch
from torch import nn

from model_zoo.checks import WIDEST, check_counts, check_share
from model_zoo.metadata import Column, metadata_fields


@dataclass(frozen=True, slots=True)
class MlpConfig:
    """latent: length L of the input. hidden: width. classes: number of outputs. dropout: its probability.

    metadata: the columns fused late, none for images only.
    """

    latent: int = 42
    hidden: int = 128
    classes: int = 5
    dropout: float = 0.5
    metadata: tuple[Column, ...] = ()

    def __post_init__(self) -> None:
        check_counts(self, latent=WIDEST, hidden=WIDEST, classes=WIDEST)
        check_share(self, "dropout")

    @property
    def inputs(self) -> int:
        """Of the first layer: the latent, and for each column its level and whether it is missing."""
        return self.latent + 2 * len(self.metadata)

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields of a candidate that the columns are made of, in the order in which values are given."""
        return metadata_fields(column.name for column in self.metadata)

    def to_dict(self) -> dict[str, Any]:
        """Without metadata as it was before there was any: a checkpoint's id is a hash of this."""
        values = asdict(self)
        return values if self.metadata else {name: value for name, value in values.items() if name != "metadata"}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        columns = tuple(Column.from_dict(column) for column in values.get("metadata", ()))
        return cls(**{**values, "metadata": columns})


class Mlp(nn.Module):
    """Latents (N, L) float32, metadata (N, 2M) float32 or None → logits (N, classes).

    Latents are standardised by the stored moments; metadata comes from `metadata_input`.
    """

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
            nn.Linear(config.inputs, config.hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, config.classes),
        )

    def forward(self, latents: torch.Tensor, metadata: torch.Tensor | None = None) -> torch.Tensor:
        seen = (latents - self.mean) / self.deviation
        if self.config.metadata:
            if metadata is None:
                raise ValueError(f"this head takes {len(self.config.metadata)} columns of metadata beside the latents")
            seen = torch.cat([seen, metadata], dim=1)
        logits: torch.Tensor = self.layers(seen)
        return logits / self.temperature
