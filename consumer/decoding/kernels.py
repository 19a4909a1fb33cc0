"""The inner loops, compiled by numba and cached on disk: they release the GIL and read nothing outside their input."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numba import njit
from numba.core.types import Array, Tuple, float64, int32, int64, uint8, uint32, uint64

from consumer.decoding.compiler import Op

STACK: Final = 40
"""Arrays within arrays; schemas nest less deeply: see `program.MAX_DEPTH`."""

# numba wants plain integers
FIXED, VARINT, BYTES, NULLABLE_FIXED = int(Op.FIXED), int(Op.VARINT), int(Op.BYTES), int(Op.NULLABLE_FIXED)
NULLABLE_VARINT, NULLABLE_BYTES = int(Op.NULLABLE_VARINT), int(Op.NULLABLE_BYTES)
UNION, JUMP, ARRAY, NEXT = int(Op.UNION), int(Op.JUMP), int(Op.ARRAY), int(Op.NEXT)
TAKE_VARINT, TAKE_FLOAT = int(Op.TAKE_VARINT), int(Op.TAKE_FLOAT)
TAKE_DOUBLE, TAKE_BYTES = int(Op.TAKE_DOUBLE), int(Op.TAKE_BYTES)


PACKET: Final = Array(uint8, 1, "C", readonly=True)
IMAGE: Final = Array(uint32, 1, "C", readonly=True)
COUNTED: Final = Tuple((int64, int64))  # type: ignore[no-untyped-call]

Kernel = Callable[[Callable[..., Any]], Callable[..., Any]]


def _kernel(signature: Any) -> Kernel:
    """Compile now, or load what was compiled before: the first batch must not wait."""
    compiled: Kernel = njit(signature, nogil=True, cache=True, boundscheck=False)
    return compiled


@_kernel(COUNTED(PACKET, int64, int64))
def _varint(data: Any, at: int, end: int) -> Any:
    """(value, place after it); a place of -1 where it passes `end` or 64 bits."""
    value = np.uint64(0)
    shift = np.uint64(0)
    while at < end and shift < np.uint64(64):
        byte = np.uint64(data[at])
        at += 1
        value |= (byte & np.uint64(0x7F)) << shift
        if byte < np.uint64(0x80):
            return np.int64(value >> np.uint64(1)) ^ -np.int64(value & np.uint64(1)), at
        shift += np.uint64(7)
    return np.int64(0), np.int64(-1)


@_kernel(int64(PACKET, int64, int64))
def _after_bytes(data: Any, at: int, end: int) -> Any:
    """The place after a length and as many bytes, or -1."""
    size, at = _varint(data, at, end)
    return at + size if at >= 0 and 0 <= size <= end - at else -1


@_kernel(int64(PACKET, int64, int64, int64, int64, int64))
def _after_nullables(data: Any, at: int, end: int, absent: int, size: int, times: int) -> Any:
    """The place after `times` unions of null, branch `absent`, and a value of `size` bytes, or -1."""
    for _ in range(times):
        if at >= end or data[at] & 1 or data[at] > 2:
            return -1
        at += 1 if data[at] >> 1 == absent else 1 + size
    return at


@_kernel(COUNTED(PACKET, int64, int64))
def _block(data: Any, at: int, end: int) -> Any:
    """(items of the next block, place after its count); one that tells its bytes is passed over whole."""
    count, at = _varint(data, at, end)
    while at >= 0 and count < 0:
        at = _after_bytes(data, at, end)
        if at >= 0:
            count, at = _varint(data, at, end)
    return count, at if count <= end - at else -1


@_kernel(uint64(PACKET, int64, int64))
def _little_endian(data: Any, at: int, size: int) -> Any:
    word = np.uint64(0)
    for place in range(size):
        word |= np.uint64(data[at + place]) << np.uint64(8 * place)
    return word


@_kernel(int64(PACKET, int64, int64, int64, int64, int64[:, ::1], float64[::1]))
def _take(data: Any, at: int, end: int, op: int, slot: int, taken: Any, numbers: Any) -> Any:
    """Note a wanted value; the place after it, or -1."""
    taken[slot, 0] = 1
    if op == TAKE_VARINT:
        taken[slot, 1], at = _varint(data, at, end)
        return at
    if op == TAKE_BYTES:
        after = _after_bytes(data, at, end)
        size, taken[slot, 1] = _varint(data, at, end)
        taken[slot, 2] = after
        return after
    size = 4 if op == TAKE_FLOAT else 8
    if size > end - at:
        return -1
    word = np.array([_little_endian(data, at, size)], np.uint64)
    numbers[slot] = word.view(np.float32)[0] if op == TAKE_FLOAT else word.view(np.float64)[0]
    return at + size


@_kernel(int64(PACKET, int64, int64, int32[:, ::1], int32[::1], int64[:, ::1], float64[::1]))
def walk(data: Any, at: int, end: int, program: Any, targets: Any, taken: Any, numbers: Any) -> Any:
    """Run `program` over data[at:end]; the place after the record, or -1 where anything is unexpected.

    taken: (slots, 3) int64, zeros: present, and a varint's value, or bytes' start and end. numbers: (slots,) float64,
    where floats go.
    """
    left = np.zeros(STACK, np.int64)
    depth = pc = 0
    while 0 <= at <= end:
        op, a, b, c = program[pc]
        pc += 1
        if op == NULLABLE_FIXED:
            at = _after_nullables(data, at, end, a, b, c)
        elif op == FIXED:
            at += a
        elif op == VARINT:
            _, at = _varint(data, at, end)
        elif op == BYTES:
            at = _after_bytes(data, at, end)
        elif op in (NULLABLE_VARINT, NULLABLE_BYTES, UNION):
            branch, at = _varint(data, at, end)
            if not 0 <= branch < (a if op == UNION else 2):
                return -1
            if op == UNION:
                pc = targets[b + branch]
            elif at >= 0 and branch != a and op == NULLABLE_VARINT:
                _, at = _varint(data, at, end)
            elif at >= 0 and branch != a:
                at = _after_bytes(data, at, end)
        elif op == JUMP:
            pc = a
        elif op == ARRAY:
            left[depth], at = _block(data, at, end)
            depth += 1
            if left[depth - 1] == 0:
                depth -= 1
                pc = a
        elif op == NEXT:
            left[depth - 1] -= 1
            if left[depth - 1] == 0:
                left[depth - 1], at = _block(data, at, end)
            if left[depth - 1] == 0:
                depth -= 1
            else:
                pc = a
        elif op in (TAKE_VARINT, TAKE_FLOAT, TAKE_DOUBLE, TAKE_BYTES):
            at = _take(data, at, end, op, a, taken, numbers)
        else:
            return at
    return -1


INFINITY_BITS: Final = np.uint32(0x7F80_0000)
HUGE_BITS: Final = np.array(1e37, np.float32).view(np.uint32)[()]
"""A pixel past 1e37 is as good as infinite: scaling would overflow float32."""
MASKED_BITS: Final = np.finfo(np.float32).min.view(np.uint32)
NAN_BITS: Final = np.uint32(0x7FC0_0000)


@_kernel(uint32(uint32))
def _swapped(word: Any) -> Any:
    """A big-endian word, read as little-endian."""
    outer = word << np.uint32(24) | word >> np.uint32(24)
    return outer | (word & np.uint32(0xFF00)) << np.uint32(8) | word >> np.uint32(8) & np.uint32(0xFF00)


@_kernel(int64(IMAGE))
def count_infinite(image: Any) -> Any:
    """How many pixels, big-endian float32 read as little-endian words, are infinite or past ±1e37; masked ones are not.

    The sign and most of the exponent are a word's lowest byte. A first look at it, which is vectorised, settles most
    stamps: below 0x7C, a pixel is under 3e36.
    """
    suspects = 0
    for word in image:
        suspects += int(word & np.uint32(0x7F) >= np.uint32(0x7C))
    if suspects == 0:
        return 0
    found = 0
    for word in image:
        bits = _swapped(word)
        size = bits & np.uint32(0x7FFF_FFFF)
        found += int(HUGE_BITS < size <= INFINITY_BITS and bits != MASKED_BITS)
    return found


@_kernel(COUNTED(IMAGE, int64, int64, int64, int64, uint32[:, ::1]))
def cut_pixels(image: Any, height: int, width: int, top: int, left: int, out: Any) -> Any:
    """Cut an image (height, width) of big-endian words: out[r, c] = image[top + r, left + c].

    out: (size, size), the bits of native float32. What lies outside the image is NaN, and so is a masked pixel.
    Returns how many pixels are not NaN, and how many of these differ from the first.
    """
    known = differing = 0
    first = np.uint32(0)
    for r in range(out.shape[0]):
        for c in range(out.shape[1]):
            row, column = top + r, left + c
            bits = NAN_BITS
            if 0 <= row < height and 0 <= column < width:
                bits = _swapped(image[row * width + column])
            if bits == MASKED_BITS or bits & np.uint32(0x7FFF_FFFF) > INFINITY_BITS:
                bits = NAN_BITS
            else:
                first = bits if known == 0 else first
                known += 1
                differing += int(bits != first)
            out[r, c] = bits
    return known, differing
