"""The serving encoder while it learns with labels: itself, and a linear layer that is thrown away."""

import torch
from torch import nn

from model_zoo.classifier.encoder import EncoderConfig, build_encoder


class Supervised(nn.Module):
    """Stamps (N, C, S, S) float32 → logits (N, classes). `encoder` is what serves; dropout acts on its features."""

    def __init__(self, config: EncoderConfig, classes: int, dropout: float) -> None:
        super().__init__()
        self.encoder = build_encoder(config)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Sequential(nn.ReLU(), nn.Dropout(dropout), nn.Linear(config.latent, classes))

    def forward(self, stamps: torch.Tensor) -> torch.Tensor:
        features = self.dropout(self.encoder[:-1](stamps))
        logits: torch.Tensor = self.head(self.encoder[-1](features))
        return logits
