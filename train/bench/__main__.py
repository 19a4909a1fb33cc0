"""How fast the autoencoder trains, our way and the seeds', side by side in one run: `python -m train.bench`.

The seeds wrote six copies of every stamp to memory, drew them through a DataLoader and stepped eagerly. Ours keeps the
stamps on the device, makes the copies of a batch by one gather, and may compile the step. Same model, same optimiser,
same number of images; the way is the only difference.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from model_zoo.autoencoder import Autoencoder, AutoencoderConfig
from model_zoo.encoder import EncoderConfig
from train.augment import COPIES, Copies

BATCH = 100
EPOCH = 72_710 * COPIES["views"]
"""Images of one of seed 001's epochs."""


@dataclass(frozen=True, slots=True)
class Rate:
    """images: a second. epoch: seconds for one of seed 001's epochs."""

    way: str
    images: float

    @property
    def epoch(self) -> float:
        return EPOCH / self.images


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options.add_argument("--steps", type=int, default=40, help="timed steps of each way")
    options.add_argument("--rounds", type=int, default=3, help="the ways take turns this often; the best round counts")
    chosen = options.parse_args()
    device = torch.device(chosen.device)
    stamps = torch.rand(2000, 2, 21, 21, generator=torch.Generator().manual_seed(1))
    ways = {
        "seeds: copies in memory, DataLoader, eager": seeds_way(stamps, device),
        "ours: copies on the device": our_way(stamps, device, compiled=False),
        "ours: copies on the device, compiled": our_way(stamps, device, compiled=True),
    }
    best: dict[str, float] = {}
    for _ in range(chosen.rounds):
        for way, step in ways.items():
            best[way] = max(best.get(way, 0.0), timed(step, chosen.steps, device))
    report([Rate(way, images) for way, images in best.items()], device)


def seeds_way(stamps: torch.Tensor, device: torch.device) -> Callable[[], None]:
    """A step as the seeds took it. The copies are made here, outside the time, as theirs were."""
    written = Copies(stamps, "views", torch.Generator())
    copies = torch.cat([written.take(part)[0] for part in torch.arange(len(written)).split(512)])
    loader = DataLoader(TensorDataset(copies), batch_size=BATCH, shuffle=True)
    model, optimiser = _model(device)

    def forever() -> Iterator[torch.Tensor]:
        while True:
            for (part,) in loader:
                yield part

    drawn = forever()

    def step() -> None:
        part = next(drawn).to(device)
        _update(optimiser, F.mse_loss(model(part), part))

    return step


def our_way(stamps: torch.Tensor, device: torch.device, *, compiled: bool) -> Callable[[], None]:
    """A step of `train.loop` on `Copies`. On a GPU compilation captures the step's kernels in a CUDA graph."""
    copies = Copies(stamps.to(device), "views", torch.Generator())
    model, optimiser = _model(device)
    run = torch.compile(model, mode="reduce-overhead" if device.type == "cuda" else "default") if compiled else model
    generator = torch.Generator().manual_seed(1)

    def step() -> None:
        part = copies.take(torch.randint(len(copies), (BATCH,), generator=generator))[0]
        _update(optimiser, F.mse_loss(run(part), part))

    return step


def timed(step: Callable[[], None], steps: int, device: torch.device) -> float:
    """Images a second over `steps`, after three that warm up."""
    for _ in range(3):
        step()
    _wait(device)
    start = time.perf_counter()
    for _ in range(steps):
        step()
    _wait(device)
    return BATCH * steps / (time.perf_counter() - start)


def report(rates: list[Rate], device: torch.device) -> None:
    reference = rates[0].images
    lines = [
        f"autoencoder, L = 42, batch {BATCH}, {device}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    ]
    lines += [
        f"{rate.way:45} {rate.images:9,.0f} images/s {rate.epoch:8,.0f} s an epoch {rate.images / reference:5.2f}×"
        for rate in rates
    ]
    sys.stdout.write("\n".join(lines) + "\n")


def _model(device: torch.device) -> tuple[Autoencoder, torch.optim.Optimizer]:
    torch.manual_seed(1)
    model = Autoencoder(AutoencoderConfig(EncoderConfig(channels=2))).to(device)
    return model, torch.optim.Adam(model.parameters(), lr=0.333e-4)


def _update(optimiser: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
