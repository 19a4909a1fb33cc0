"""ALeRCE's stamp classifier, the anchor: Carrasco-Davis et al. 2021, AJ 162, 231, section 3."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

ROTATIONS = 4


@dataclass(frozen=True, slots=True)
class AlerceConfig:
    """channels: planes of the stamp. metadata: columns fused late, 0 for images only. dropout: before the output."""

    channels: int = 3
    metadata: int = 0
    classes: int = 5
    dropout: float = 0.5


class Alerce(nn.Module):
    """Stamps (N, C, 21, 21) float32 in [0, 1], metadata (N, M) float32 or None → logits (N, classes).

    The same convolutions see the four rotations of a stamp and their answers are averaged, so that the answer does
    not depend on how the camera was turned (Dieleman et al. 2015).
    """

    def __init__(self, config: AlerceConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = nn.Sequential(
            nn.Conv2d(config.channels, 32, 4, padding=3),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(64 * 6 * 6, 64),
            nn.ReLU(),
        )
        self.normalise = nn.BatchNorm1d(config.metadata) if config.metadata else None
        self.head = nn.Sequential(
            nn.Linear(64 + config.metadata, 64),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(64, config.classes),
        )

    def forward(self, stamps: torch.Tensor, metadata: torch.Tensor | None = None) -> torch.Tensor:
        pooled = self.pooled(stamps)
        if self.normalise is not None:
            if metadata is None:
                raise ValueError(f"this classifier takes {self.config.metadata} columns of metadata beside the stamps")
            pooled = torch.cat([pooled, self.normalise(metadata)], dim=1)
        logits: torch.Tensor = self.head(pooled)
        return logits

    def pooled(self, stamps: torch.Tensor) -> torch.Tensor:
        """(N, C, 21, 21) → (N, 64), the mean over the four rotations."""
        turned = torch.cat([torch.rot90(stamps, quarter, (2, 3)) for quarter in range(ROTATIONS)])
        pooled: torch.Tensor = self.encoder(turned).unflatten(0, (ROTATIONS, len(stamps))).mean(dim=0)
        return pooled


def entropy_loss(logits: torch.Tensor, label: torch.Tensor, beta: float = 0.5) -> torch.Tensor:
    """Cross entropy less `beta` times the entropy of the answer, which keeps it from being too sure: a scalar."""
    surprise = F.log_softmax(logits, dim=1)
    entropy = -(surprise.exp() * surprise).sum(dim=1).mean()
    return F.cross_entropy(logits, label) - beta * entropy
