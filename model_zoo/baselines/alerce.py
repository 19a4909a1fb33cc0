"""ALeRCE's stamp classifier, the anchor: Carrasco-Davis et al. 2021, AJ 162, 231, section 3.

Sizes, order and the chosen settings (kernel 5, dropout 0.5, β 0.5) are those of the network that ALeRCE published.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

ROTATIONS = 4
WIDTH = 64


@dataclass(frozen=True, slots=True)
class AlerceConfig:
    """channels: planes of the stamp. metadata: columns fused late, 0 for images only. kernel: of the convolutions.

    dropout: after each of the three dense layers, the one before the rotations are averaged included.
    """

    channels: int = 3
    metadata: int = 0
    classes: int = 5
    kernel: int = 5
    dropout: float = 0.5


class Alerce(nn.Module):
    """Stamps (N, C, 21, 21) float32 in [0, 1], metadata (N, M) float32 or None → logits (N, classes).

    The same convolutions see the four rotations of a stamp and their answers are averaged, so that the answer does
    not depend on how the camera was turned (Dieleman et al. 2015). Metadata is batch-normalised and joined after that.
    """

    def __init__(self, config: AlerceConfig) -> None:
        super().__init__()
        self.config = config
        kernel, dropout = config.kernel, config.dropout
        self.encoder = nn.Sequential(
            *_convolution(config.channels, 32, 4, padding=3),  # 21 → 24
            *_convolution(32, 32, kernel),
            nn.MaxPool2d(2),  # 24 → 12
            *_convolution(32, 64, kernel),
            *_convolution(64, 64, kernel),
            *_convolution(64, 64, kernel),
            nn.MaxPool2d(2),  # 12 → 6
            nn.Flatten(),
            *_dense(64 * 6 * 6, dropout),
        )
        self.normalise = nn.BatchNorm1d(config.metadata) if config.metadata else None
        self.head = nn.Sequential(
            *_dense(WIDTH + config.metadata, dropout), *_dense(WIDTH, dropout), nn.Linear(WIDTH, config.classes)
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


def _convolution(inputs: int, outputs: int, kernel: int, padding: int | None = None) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2 if padding is None else padding), nn.ReLU()]


def _dense(inputs: int, dropout: float) -> list[nn.Module]:
    return [nn.Linear(inputs, WIDTH), nn.ReLU(), nn.Dropout(dropout)]
