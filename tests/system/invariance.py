"""Answers of a shipped model under this process's instruction set: `python -m tests.system.invariance FILE.npz`.

Exits 1 where an answer depends on the batch, on its place there or on the number of threads. What it writes is compared
between instruction sets by `test_instruction_sets.py`.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from consumer.inference.models import Inference
from consumer.store.sequences import SequencePrefix
from model_zoo import checkpoint as checkpoints

MODEL = "estampa-serve-metadata"  # the encoder of both shipped models, and heads of either kind
ALERTS = 130
Answers = dict[str, NDArray[np.float32]]


def sample() -> tuple[list[NDArray[np.float32]], list[tuple[float, ...]], list[SequencePrefix]]:
    """The same stamps, metadata (60 values) and histories in every process: uniform numbers."""
    random = np.random.default_rng(5)
    stamps = random.random((ALERTS, 3, 21, 21), np.float32)
    stamps[::10, 1] = np.nan
    histories = [
        SequencePrefix(
            latents=random.random((length, 42), np.float32),
            jd=2461000.5 + np.arange(length),
            band=random.integers(1, 4, length),
            truncated=False,
            late=False,
        )
        for length in (1 + row % 40 for row in range(ALERTS))
    ]
    return list(stamps), [tuple(row) for row in random.random((ALERTS, 60)) * 20], histories


def answers(inference: Inference, size: int, *, backwards: bool) -> Answers:
    """Latents, probabilities of alerts and of sequences, in batches of `size`."""
    stamps, metadata, histories = sample()
    fields = len(inference.checkpoint.mlp.config.fields)
    step = -1 if backwards else 1
    stamps, metadata, histories = stamps[::step], [row[:fields] for row in metadata][::step], histories[::step]
    batches = [slice(start, start + size) for start in range(0, ALERTS, size)]
    encoded = [inference.encode(stamps[batch], metadata[batch]) for batch in batches]
    sequences = [inference.classify(histories[batch]) for batch in batches]
    latents, alone = (np.concatenate(parts)[::step] for parts in zip(*encoded, strict=True))
    return {"latents": latents, "alerts": alone, "sequences": np.concatenate(sequences)[::step]}


def checked() -> Answers:
    """The answers. Exits where batches, order or threads change a bit of them."""
    torch.set_num_threads(1)
    checkpoint = checkpoints.load(checkpoints.resolve(MODEL))
    expected = answers(Inference(checkpoint, torch.device("cpu")), ALERTS, backwards=False)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        inference = Inference(checkpoint, torch.device("cpu"))
        for size in (1, 7, 64, ALERTS):
            for backwards in (False, True):
                found = answers(inference, size, backwards=backwards)
                for name, values in expected.items():
                    if not np.array_equal(found[name], values):
                        sys.exit(f"{name} differ: batches of {size}, {threads} threads, {backwards=}")
    return expected


if __name__ == "__main__":
    np.savez(Path(sys.argv[1]), **checked())  # type: ignore[arg-type] # its stub takes a name for allow_pickle
