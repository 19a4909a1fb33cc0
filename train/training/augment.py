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


COPIES: Final = {"none": 1, "views": 6, "tiles": 7}
"""Copies of each stamp that seed 001 wrote to disk: itself, three rotations, two flips, one shuffle of its tiles."""

SHUFFLES: Final = 997
"""Distinct shuffles of the 3×3 tiles. A prime: stamp i has shuffle i mod 997, the same in every epoch, as on disk."""


class Copies:
    """Seed 001's offline augmentation, made when asked for: copy k of stamp i is example i * copies + k.

    An epoch over `len(self)` examples sees just what an epoch over the written copies saw. A copy is a permutation of
    pixels, so that one gather on the device makes a whole batch.
    """

    def __init__(self, stamps: torch.Tensor, augmentation: str, generator: torch.Generator) -> None:
        """stamps: (N, …, S, S) on the device that trains. augmentation: a key of COPIES."""
        self.stamps = stamps
        self.copies = COPIES[augmentation]
        side = stamps.shape[-1]
        table = _views(side)
        if augmentation == "tiles":
            table = torch.cat([table, _shuffled(side, generator)])
        self.table = table.to(stamps.device)

    def __len__(self) -> int:
        return len(self.stamps) * self.copies

    def take(self, which: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Examples (B,) int64 → (stamps (B, …, S, S), the rows they are copies of (B,) int64), on the device."""
        which = which.to(self.stamps.device)
        rows, copy = which // self.copies, which % self.copies
        chosen = self.stamps[rows]
        if self.copies == 1:
            return chosen, rows
        order = self.table[torch.where(copy < 6, copy, 6 + rows % SHUFFLES)]
        flat = chosen.flatten(-2).flatten(1, -2)
        turned = flat.gather(2, order.unsqueeze(1).expand(-1, flat.shape[1], -1))
        return turned.view_as(chosen), rows


def _views(side: int) -> torch.Tensor:
    """(6, side²) int64: where the pixels of each copy come from."""
    places = torch.arange(side * side).view(side, side)
    turned = [places.rot90(quarter) for quarter in range(4)]
    return torch.stack([one.reshape(-1) for one in (*turned, places.flip(1), places.flip(0))])


def _shuffled(side: int, generator: torch.Generator) -> torch.Tensor:
    """(SHUFFLES, side²) int64: the stamp's 3×3 tiles in random orders. Raises ValueError if they do not divide it."""
    if side % 3:
        raise ValueError(f"a stamp of {side} pixels has no 3×3 tiles; its side must be a multiple of 3")
    tile = side // 3
    tiles = torch.arange(side * side).view(3, tile, 3, tile).transpose(1, 2).reshape(9, tile, tile)
    orders = torch.stack([torch.randperm(9, generator=generator) for _ in range(SHUFFLES)])
    return tiles[orders].view(-1, 3, 3, tile, tile).transpose(2, 3).reshape(SHUFFLES, side * side)
