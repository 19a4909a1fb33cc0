"""Seed 001's variational autoencoder: a mean and a log-variance (Kingma & Welling 2014)."""

import torch
from torch import nn

from model_zoo.baselines.autoencoder import AutoencoderConfig, build_decoder
from model_zoo.classifier.encoder import WIDTH, build_encoder


class Vae(nn.Module):
    """Stamps (N, C, S, S) float32 in [0, 1] → reconstruction (N, C, S, S), mean (N, L), log-variance (N, L).

    In eval mode the latent is the mean: the answer does not depend on a draw.
    """

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config.encoder)[:-1]
        features = WIDTH * config.encoder.reduced**2
        self.fc_mu = nn.Linear(features, config.encoder.latent)
        self.fc_logvar = nn.Linear(features, config.encoder.latent)
        self.decoder = build_decoder(config)

    def forward(self, stamps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        features = self.encoder(stamps)
        mean, log_variance = self.fc_mu(features), self.fc_logvar(features)
        latent = self._draw(mean, log_variance) if self.training else mean
        return self.decoder(latent), mean, log_variance

    def latents(self, stamps: torch.Tensor) -> torch.Tensor:
        """(N, C, S, S) → the posterior means (N, L)."""
        mean: torch.Tensor = self.fc_mu(self.encoder(stamps))
        return mean

    @staticmethod
    def _draw(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
        return mean + torch.randn_like(mean) * (log_variance / 2).exp()


def divergence(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """Kullback-Leibler divergence to the unit Gaussian: (N, L) twice → (N,), nats."""
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(dim=1)
