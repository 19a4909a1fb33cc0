"""How fast the autoencoder trains, our way and the seeds', side by side in one run: `python -m train.bench`.

The seeds wrote six copies of every stamp to memory, drew them through a DataLoader and stepped eagerly. Ours is the
very step of `train.training.loop`: stamps on the device, a batch's copies made by one gather, weights channels last,
one fused optimiser; on a GPU all of it one CUDA graph. Same model, same number of images; and the losses of both.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from model_zoo.checks import device_named
from train.baselines.fit import prepare_model, reconstructing_model, reconstruction_loss, schedule
from train.experiments.catalogue import read_experiment
from train.experiments.experiment import AutoencoderExperiment, changed
from train.training.augment import COPIES, Copies
from train.training.loop import optimiser_of

(EXPERIMENT,) = (run for run in read_experiment("ae") if isinstance(run, AutoencoderExperiment))
BATCH = EXPERIMENT.batch_size
SEEDS = "seeds: copies in memory, DataLoader, eager"
Step = Callable[[], torch.Tensor]
Clock = Callable[[], float]
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}
EPOCH = 72_710 * COPIES["views"]
"""Images of one of seed 001's epochs."""


@dataclass(frozen=True, slots=True)
class Rate:
    """images: a second. loss: mean of the last ten steps. epoch: seconds for one of seed 001's epochs."""

    way: str
    images: float
    loss: float

    @property
    def epoch(self) -> float:
        return EPOCH / self.images


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--device", type=_device, default="auto", help="auto, cpu, cuda or cuda:N")
    options.add_argument("--steps", type=int, default=40, help="timed steps of each way")
    options.add_argument("--rounds", type=int, default=3, help="the ways take turns this often; the best round counts")
    options.add_argument("--compiled", action="store_true", help="time ours compiled too; that takes a minute more")
    options.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: unmoved by other work on the machine")
    chosen = options.parse_args()
    device = chosen.device
    stamps = blobs(2000)
    ways = {
        SEEDS: seeds_way(stamps, device),
        "ours": our_way(stamps, device),
        "ours, mixed=true": our_way(stamps, device, mixed=True),
    }
    if chosen.compiled:
        ways["ours, mixed=true, compiled=true"] = our_way(stamps, device, mixed=True, compiled=True)
    best: dict[str, float] = {}
    losses: dict[str, float] = {}
    for _ in range(chosen.rounds):
        for way, step in ways.items():
            images, losses[way] = timed(step, chosen.steps, device, CLOCKS[chosen.clock])
            best[way] = max(best.get(way, 0.0), images)
    report([Rate(way, images, losses[way]) for way, images in best.items()], device)


def _device(name: str) -> torch.device:
    try:
        return device_named(name)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def blobs(count: int) -> torch.Tensor:
    """(count, 2, 21, 21): a round source on a noisy sky: something to learn, so that losses may be compared."""
    draw = torch.Generator().manual_seed(1)
    axis = torch.arange(21) - 10.0
    width = 1.5 + 2 * torch.rand(count, 2, 1, 1, generator=draw)
    source = torch.exp(-(axis[:, None] ** 2 + axis**2) / (2 * width**2))
    return (source + 0.1 * torch.rand(count, 2, 21, 21, generator=draw)).clamp(0, 1)


def seeds_way(stamps: torch.Tensor, device: torch.device) -> Step:
    """A step as the seeds took it. The copies are made here, outside the time, as theirs were."""
    written = Copies(stamps, "views", torch.Generator())
    copies = torch.cat([written.take(part)[0] for part in torch.arange(len(written)).split(512)])
    loader = DataLoader(TensorDataset(copies), batch_size=BATCH, shuffle=True)
    torch.manual_seed(1)
    model = reconstructing_model(EXPERIMENT).to(device)
    optimiser = torch.optim.Adam(model.parameters(), lr=EXPERIMENT.lr)

    def forever() -> Iterator[torch.Tensor]:
        while True:
            for (part,) in loader:
                yield part

    drawn = forever()

    def step() -> torch.Tensor:
        part = next(drawn).to(device)
        optimiser.zero_grad()
        loss = F.mse_loss(model(part), part)
        loss.backward()
        optimiser.step()
        return loss.detach()

    return step


def our_way(stamps: torch.Tensor, device: torch.device, *, mixed: bool = False, compiled: bool = False) -> Step:
    """A step of `train.training.loop` on `Copies`."""
    experiment = changed(EXPERIMENT, {"mixed": mixed, "compiled": compiled})
    copies = Copies(stamps.to(device), "views", torch.Generator())
    torch.manual_seed(1)
    model = prepare_model(reconstructing_model(experiment), experiment, device)
    _, update = optimiser_of(
        model, lambda which: reconstruction_loss(model, copies.take(which)[0], "mse"), schedule(experiment)
    )
    generator = torch.Generator().manual_seed(1)
    return lambda: update(torch.randint(len(copies), (BATCH,), generator=generator).to(device))


def timed(step: Step, steps: int, device: torch.device, clock: Clock) -> tuple[float, float]:
    """Images a second over `steps`, after five that warm up, and the mean loss of the last ten."""
    for _ in range(5):
        step()
    _wait(device)
    start = clock()
    losses = [step().clone() for _ in range(steps)]
    _wait(device)
    return BATCH * steps / (clock() - start), float(torch.stack(losses[-10:]).mean())


def report(rates: list[Rate], device: torch.device) -> None:
    reference = rates[0].images
    lines = [
        f"autoencoder, L = 42, batch {BATCH}, {device}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    ]
    for rate in rates:
        speed = f"{rate.images:7,.0f} images/s {rate.epoch:7,.0f} s an epoch {rate.images / reference:5.2f}×"
        lines.append(f"{rate.way:43} {speed}  loss {rate.loss:.5f}")
    sys.stdout.write("\n".join(lines) + "\n")


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
