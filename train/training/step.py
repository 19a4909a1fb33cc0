"""Steps of an optimiser: one, taken as it is or on a GPU replayed whole from a CUDA graph; and a fit by its steps."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import torch

Step = Callable[[torch.Tensor], torch.Tensor]
"""Places of the examples of a batch, (B,) int64 → its loss, a scalar."""
Update = Callable[[torch.Tensor], torch.Tensor]
"""The same, and the weights are one step further; the loss carries no gradient."""

Curve = list[tuple[int, float]]
"""Training loss by step: (step, mean loss of the CURVE_STEPS steps up to it)."""
CURVE_STEPS: Final = 50

WARM: Final = 3
"""Batches taken as they are before a capture, as cuDNN's choices and a lazy optimiser state ask."""


def eager(step: Step, optimiser: torch.optim.Optimizer, *, mixed: bool) -> Update:
    """mixed: what may be is computed in bfloat16; weights, gradients and the optimiser stay float32."""

    def update(which: torch.Tensor) -> torch.Tensor:
        with torch.autocast(which.device.type, torch.bfloat16, enabled=mixed, cache_enabled=False):
            loss = step(which)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        return loss.detach()

    return update


class Captured:
    """An update recorded once, gather, forward, backward and optimiser together, and then launched as one.

    At a batch of 100 small stamps a GPU waits for its launches, not for its arithmetic. A batch that is not of `size`,
    such as the last of an epoch, is taken as it is. `optimiser` must have been made with capturable=True.
    """

    def __init__(self, step: Step, optimiser: torch.optim.Optimizer, size: int, *, mixed: bool) -> None:
        self._update = eager(step, optimiser, mixed=mixed)
        self._optimiser = optimiser
        self._size = size
        self._warm = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._which = self._loss = torch.empty(0)

    def __call__(self, which: torch.Tensor) -> torch.Tensor:
        if len(which) != self._size:
            return self._update(which)
        if self._warm < WARM:
            self._warm += 1
            return self._aside(which)
        if self._graph is None:
            self._graph = self._capture(which)
        self._which.copy_(which)
        self._graph.replay()
        return self._loss

    def _aside(self, which: torch.Tensor) -> torch.Tensor:
        """A step on a stream of its own, where a capture's memory may not come from."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            loss = self._update(which)
        torch.cuda.current_stream().wait_stream(stream)
        return loss

    def _capture(self, which: torch.Tensor) -> torch.cuda.CUDAGraph:
        """Record a step; nothing of it is run. Gradients are dropped inside, so that backward writes, never adds."""
        graph = torch.cuda.CUDAGraph()
        self._which = which.clone()
        self._optimiser.zero_grad(set_to_none=True)
        with torch.cuda.graph(graph):
            self._loss = self._update(self._which)
        return graph


def weighted_draws(weight: torch.Tensor, batch: int, steps: int, generator: torch.Generator) -> Iterator[torch.Tensor]:
    """`steps` batches of places (batch,) int64, drawn with replacement in proportion to weight (N,)."""
    for _ in range(steps):
        yield torch.multinomial(weight, batch, replacement=True, generator=generator)


def fit_steps(
    step: Step,
    batches: Iterable[torch.Tensor],
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> Curve:
    """Take a step of `optimiser` and of its schedule for each batch. Returns the losses.

    The losses stay on their device until the end: to read one is to wait for it.
    """
    update = eager(step, optimiser, mixed=False)
    losses = []
    for which in batches:
        losses.append(update(which))
        schedule.step()
    return loss_curve(losses)


def loss_curve(losses: list[torch.Tensor]) -> Curve:
    """The curve of the losses of all steps; its last point may be of fewer than CURVE_STEPS."""
    parts = torch.stack(losses).split(CURVE_STEPS)
    return [
        (min((place + 1) * CURVE_STEPS, len(losses)), round(float(part.mean()), 5)) for place, part in enumerate(parts)
    ]
