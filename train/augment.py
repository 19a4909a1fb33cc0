"""Views of a stamp that leave its class alone, made on the device a batch at a time."""

from typing import Final

import torch

VIEWS: Final = 8
"""The square's symmetries: four rotations, each as it is and mirrored."""


def view(stamps: torch.Tensor, which: int) -> torch.Tensor:
    """View `which` (0 to 7, 0 the identity) of stamps (N, C, S, S)."""
    turned = torch.rot90(stamps, which % 4, (2, 3))
    return turned.flip(3) if which >= 4 else turned


def random_views(stamps: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Each stamp of (N, C, S, S) in a view of its own, all eight equally likely."""
    which = torch.randint(VIEWS, (len(stamps),), generator=generator)
    out = torch.empty_like(stamps)
    for one in range(VIEWS):
        rows = (which == one).nonzero().flatten().to(stamps.device)
        out[rows] = view(stamps[rows], one)
    return out
