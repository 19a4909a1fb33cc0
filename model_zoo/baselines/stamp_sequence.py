"""Seed 001's recurrent classifier: stamps of one object, each encoded, then a recurrent layer."""

from dataclasses import dataclass, field
from typing import Final

import torch
from torch import nn

from model_zoo.baselines.autoencoder import AutoencoderConfig, build_decoder
from model_zoo.classifier.encoder import EncoderConfig, build_encoder

CELLS: Final = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


@dataclass(frozen=True, slots=True)
class StampSequenceConfig:
    """encoder: of each stamp. cell: rnn, lstm or gru. hidden, layers: of the recurrent part. classes, dropout: head."""

    encoder: EncoderConfig = field(default_factory=lambda: EncoderConfig(latent=50))
    cell: str = "lstm"
    hidden: int = 64
    layers: int = 2
    classes: int = 3
    dropout: float = 0.5

    def __post_init__(self) -> None:
        if self.cell not in CELLS:
            raise ValueError(f"cell is {self.cell!r}; it is one of {', '.join(CELLS)}")


class StampSequence(nn.Module):
    """Stamps (N, T, C, S, S) float32 → logits (N, classes), read at the last step.

    The seed repeats the one template at every step, so that each has its three channels. The staged joint model has
    a decoder too: `reconstruct` gives what it makes of the latents, `reconstruct_through` of the recurrent states.
    """

    def __init__(self, config: StampSequenceConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config.encoder)
        self.decoder = build_decoder(AutoencoderConfig(config.encoder))
        self.recurrent = CELLS[config.cell](config.encoder.latent, config.hidden, config.layers, batch_first=True)
        self.back = nn.Linear(config.hidden, config.encoder.latent)
        self.head = nn.Sequential(
            nn.Linear(config.hidden, 50), nn.ReLU(), nn.Dropout(config.dropout), nn.Linear(50, config.classes)
        )

    def forward(self, stamps: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.states(self.latents(stamps))[:, -1])
        return logits

    def latents(self, stamps: torch.Tensor) -> torch.Tensor:
        """(N, T, C, S, S) → (N, T, L): every stamp in one pass of the encoder."""
        latents: torch.Tensor = self.encoder(stamps.flatten(0, 1))
        return latents.view(*stamps.shape[:2], -1)

    def states(self, latents: torch.Tensor) -> torch.Tensor:
        """(N, T, L) → hidden states (N, T, hidden) of the last recurrent layer."""
        states: torch.Tensor = self.recurrent(latents)[0]
        return states

    def reconstruct(self, stamps: torch.Tensor) -> torch.Tensor:
        """First stage: every stamp through encoder and decoder, (N, T, C, S, S)."""
        return self._decoded(self.latents(stamps))

    def reconstruct_through(self, stamps: torch.Tensor) -> torch.Tensor:
        """Second stage: every stamp through encoder, recurrent layer and decoder, (N, T, C, S, S)."""
        return self._decoded(self.back(self.states(self.latents(stamps))))

    def _decoded(self, latents: torch.Tensor) -> torch.Tensor:
        stamps: torch.Tensor = self.decoder(latents.flatten(0, 1))
        return stamps.view(*latents.shape[:2], *stamps.shape[1:])
