"""Seed 001's autoencoder, its variational form (Kingma & Welling 2014), and the linear probe of their latents."""

from dataclasses import dataclass, field

import torch
from torch import nn

from model_zoo.classifier.encoder import STRIDES, WIDTH, EncoderConfig, build_encoder


@dataclass(frozen=True, slots=True)
class AutoencoderConfig:
    """encoder: trunk and latent length. rectified: end in a ReLU, as seed 001 does on pixels in [0, 1]."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    rectified: bool = True


class Autoencoder(nn.Module):
    """Stamps (N, C, S, S) float32 in [0, 1] → reconstructions of the same shape.

    Parameters are named `encoder.N` and `decoder.N` as in seed 001, so that its `state_dict` loads.
    """

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config.encoder)
        self.decoder = build_decoder(config)

    def forward(self, stamps: torch.Tensor) -> torch.Tensor:
        reconstruction: torch.Tensor = self.decoder(self.encoder(stamps))
        return reconstruction


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


def sides(size: int) -> list[int]:
    """Sides of the distinct feature maps of the encoder, input first: 21 → [21, 11, 6]."""
    found = [size]
    for stride in STRIDES:
        if stride > 1:
            found.append(-(-found[-1] // stride))
    return found


def build_decoder(config: AutoencoderConfig) -> nn.Sequential:
    """(N, latent) → (N, channels, size, size): a projection, two convolutions a scale, nearest-neighbour upsampling."""
    shape, maps = config.encoder, sides(config.encoder.size)
    layers: list[nn.Module] = [
        nn.Linear(shape.latent, WIDTH * shape.reduced**2),
        nn.ReLU(),
        nn.Unflatten(1, (WIDTH, shape.reduced, shape.reduced)),
    ]
    for side in reversed(maps[:-1]):
        layers += [*_convolution(), *_convolution(), nn.Upsample(size=(side, side), mode="nearest")]
    layers += [*_convolution(), nn.Conv2d(WIDTH, shape.channels, 3, padding=1)]
    return nn.Sequential(*layers, *([nn.ReLU()] if config.rectified else []))


def _convolution() -> list[nn.Module]:
    return [nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.BatchNorm2d(WIDTH), nn.ReLU()]
