"""Dense layers, GRU and softmax for serving on a CPU, compiled by numba: no row's answer can depend on another row.

Each number is computed by the same float32 operations in the same order, whichever rows stand beside it. numba compiles
without "fast math", so neither compiler nor processor may reorder or fuse them: results are the same to the last bit
for any batch, any number of threads and any instruction set. A matrix library promises none of these: it chooses its
kernel by the shape of the product. `log1p` alone comes from the C library, and may differ between machines.
"""

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numba import njit
from numba.core.types import Array, float32, float64, int64, void

MATRIX: Final = Array(float32, 2, "C", readonly=True)
VECTOR: Final = Array(float32, 1, "C", readonly=True)
DAYS: Final = Array(float64, 1, "C", readonly=True)
COUNTS: Final = Array(int64, 1, "C", readonly=True)
OUT: Final = float32[:, ::1]

LOG2_E: Final = np.float32(1.442695041)
LN2_HIGH, LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
"""ln 2 in two parts: the first has few bits, so that its product with a whole number is exact (Cody and Waite 1980)."""
ROUND: Final = np.float32(1.5 * 2**23)
"""Added to a small number, it leaves the nearest whole number in the sum's last bits."""
LOWEST, HIGHEST = np.float32(-87.0), np.float32(88.0)
"""exp of less is no normal float32; of more, it overflows."""
ONE, TWO = np.float32(1), np.float32(2)
C2, C3, C4, C5, C6, C7 = (np.float32(1 / math.factorial(n)) for n in range(2, 8))

Kernel = Callable[[Callable[..., Any]], Callable[..., Any]]


def _kernel(signature: Any) -> Kernel:
    """Compile now, or load what was compiled before: the first batch must not wait."""
    compiled: Kernel = njit(signature, nogil=True, cache=True)
    return compiled


@_kernel(void(MATRIX, int64, MATRIX, OUT))
def _add_products_of_four(rows: Any, r: int, weight: Any, out: Any) -> None:
    """Add rows[r : r + 4] (4, K) @ weight (K, J) to out[r : r + 4]: four rows share each load of the weights.

    Four inputs at a time, so that a sum is loaded and stored once for four products; they are added one after another.
    """
    inputs, outputs = rows.shape[1], out.shape[1]
    for k in range(0, inputs - inputs % 4, 4):
        for j in range(outputs):
            w0, w1, w2, w3 = weight[k, j], weight[k + 1, j], weight[k + 2, j], weight[k + 3, j]
            for i in range(r, r + 4):
                x0, x1, x2, x3 = rows[i, k], rows[i, k + 1], rows[i, k + 2], rows[i, k + 3]
                out[i, j] = out[i, j] + x0 * w0 + x1 * w1 + x2 * w2 + x3 * w3
    for k in range(inputs - inputs % 4, inputs):
        for i in range(r, r + 4):
            for j in range(outputs):
                out[i, j] += rows[i, k] * weight[k, j]


@_kernel(void(MATRIX, int64, MATRIX, OUT))
def _add_products_of_one(rows: Any, r: int, weight: Any, out: Any) -> None:
    """Add rows[r] (K,) @ weight (K, J) to out[r]: the same operations as for four rows."""
    inputs, outputs = rows.shape[1], out.shape[1]
    for k in range(0, inputs - inputs % 4, 4):
        x0, x1, x2, x3 = rows[r, k], rows[r, k + 1], rows[r, k + 2], rows[r, k + 3]
        for j in range(outputs):
            w0, w1, w2, w3 = weight[k, j], weight[k + 1, j], weight[k + 2, j], weight[k + 3, j]
            out[r, j] = out[r, j] + x0 * w0 + x1 * w1 + x2 * w2 + x3 * w3
    for k in range(inputs - inputs % 4, inputs):
        for j in range(outputs):
            out[r, j] += rows[r, k] * weight[k, j]


@_kernel(void(MATRIX, MATRIX, VECTOR, OUT))
def linear(rows: Any, weight: Any, bias: Any, out: Any) -> None:
    """out (N, J) = bias (J,) + rows (N, K) @ weight (K, J), summed over K in order."""
    count = rows.shape[0]
    for r in range(count):
        for j in range(bias.shape[0]):
            out[r, j] = bias[j]
    for r in range(0, count - count % 4, 4):
        _add_products_of_four(rows, r, weight, out)
    for r in range(count - count % 4, count):
        _add_products_of_one(rows, r, weight, out)


@_kernel(void(float32[::1], float32[::1]))
def exponentials(values: Any, powers: Any) -> None:
    """Replace values (N,) by their exp, to 2e-7 of it; powers (N,) is room to work in.

    exp(x) = 2^n exp(r), n whole and r within ±ln(2)/2, where a Taylor series of degree 7 is exact to float32.
    """
    bits = powers.view(np.int32)
    for i in range(values.shape[0]):
        x = values[i] if values[i] > LOWEST else LOWEST
        x = x if x < HIGHEST else HIGHEST
        powers[i] = x * LOG2_E + ROUND
        n = powers[i] - ROUND
        r = x - n * LN2_HIGH - n * LN2_LOW
        values[i] = ONE + r * (ONE + r * (C2 + r * (C3 + r * (C4 + r * (C5 + r * (C6 + r * C7))))))
    for i in range(values.shape[0]):
        bits[i] = (bits[i] + 127) << 23  # a float32 holds its exponent there, 127 for 2^0
    for i in range(values.shape[0]):
        values[i] *= powers[i]


@_kernel(void(OUT))
def softmax(rows: Any) -> None:
    """Logits (N, C) become probabilities, in place."""
    powers = np.empty(rows.shape[1], np.float32)
    for r in range(rows.shape[0]):
        highest = rows[r, 0]
        for c in range(1, rows.shape[1]):
            highest = max(highest, rows[r, c])
        for c in range(rows.shape[1]):
            rows[r, c] -= highest
        exponentials(rows[r], powers)
        total = np.float32(0)
        for c in range(rows.shape[1]):
            total += rows[r, c]
        for c in range(rows.shape[1]):
            rows[r, c] /= total


@_kernel(void(DAYS, COUNTS, OUT))
def elapsed(jd: Any, lengths: Any, out: Any) -> None:
    """Dates jd (S,) of N sequences that lie one after another → out (S, 2): log(1 + days) since the step before, and
    since the first. Differences are taken in float64: a day is 4e-7 of a Julian date.
    """
    first = 0
    for length in lengths:
        for step in range(first, first + length):
            before = jd[max(step - 1, first)]
            out[step, 0] = np.float32(math.log1p(max(jd[step] - before, 0.0)))
            out[step, 1] = np.float32(math.log1p(max(jd[step] - jd[first], 0.0)))
        first += length


@_kernel(void(OUT, OUT, OUT, OUT, OUT))
def _update(seen: Any, recalled: Any, states: Any, candidates: Any, powers: Any) -> None:
    """One step of a GRU for R rows, in place: gates are those of torch's GRU, in its order r, z, n.

    seen, recalled (R, 3H): products of input and of state; seen is overwritten. states, candidates, powers (R, H),
    (R, H), (R, 2H); the last two are room to work in.
    """
    width = states.shape[1]
    gates = np.empty((states.shape[0], 2 * width), np.float32)
    for row in range(states.shape[0]):
        for h in range(2 * width):
            gates[row, h] = -(seen[row, h] + recalled[row, h])
    exponentials(gates.ravel(), powers.ravel())
    for row in range(states.shape[0]):
        for h in range(width):
            reset = ONE / (ONE + gates[row, h])
            candidates[row, h] = TWO * (seen[row, 2 * width + h] + reset * recalled[row, 2 * width + h])
    exponentials(candidates.ravel(), powers.ravel())
    for row in range(states.shape[0]):
        for h in range(width):
            keep = ONE / (ONE + gates[row, width + h])
            tanh = ONE - TWO / (candidates[row, h] + ONE)
            states[row, h] = (ONE - keep) * tanh + keep * states[row, h]


@_kernel(void(MATRIX, COUNTS, COUNTS, MATRIX, VECTOR, OUT))
def gru(seen: Any, starts: Any, lengths: Any, weight: Any, bias: Any, out: Any) -> None:
    """out (S, H): the states of a GRU layer after each step of N sequences, which lie one after another.

    seen: (S, 3H), products of the input, bias included. starts, lengths: (N,), longest first. weight (H, 3H), bias
    (3H,): of the state. All sequences that still run take a step together.
    """
    count, width = starts.shape[0], out.shape[1]
    states, candidates = np.zeros((count, width), np.float32), np.empty((count, width), np.float32)
    inputs, recalled = np.empty((count, 3 * width), np.float32), np.empty((count, 3 * width), np.float32)
    powers = np.empty((count, 2 * width), np.float32)
    running = count
    for step in range(lengths[0] if count else 0):
        while lengths[running - 1] <= step:
            running -= 1
        linear(states[:running], weight, bias, recalled[:running])
        for r in range(running):
            inputs[r] = seen[starts[r] + step]
        _update(inputs[:running], recalled[:running], states[:running], candidates[:running], powers[:running])
        for r in range(running):
            out[starts[r] + step] = states[r]
