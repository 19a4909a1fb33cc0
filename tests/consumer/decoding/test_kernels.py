"""The inner loops at their edges, on bytes made by hand."""

import fastavro
import numpy as np
import pytest

from consumer.decoding.compiler import UnsupportedSchema, compile_program
from consumer.decoding.kernels import NAN_BITS, count_infinite, cut_pixels, walk
from tests.support.raw import Json, long


def walked(kind: object, data: bytes) -> int:
    """Where the walk of a record with one unwanted field of this type ends; -1 where something is unexpected."""
    schema: Json = {"type": "record", "name": "r", "fields": [{"name": "skipped", "type": kind}]}
    program = compile_program(fastavro.parse_schema(schema))
    taken, numbers = np.zeros((1, 3), np.int64), np.zeros(1)
    packet = np.frombuffer(data, np.uint8)
    return int(walk(packet, 0, len(data), program.instructions, program.targets, taken, numbers))


ITEMS = {"type": "array", "items": "boolean"}


def test_an_array_is_walked_to_its_end_whatever_its_blocks() -> None:
    data = long(2) + b"\0\1" + long(1) + b"\1" + long(0)
    assert walked(ITEMS, data) == len(data)
    told = long(-2) + long(2) + b"\0\1" + long(0)
    assert walked(ITEMS, told) == len(told)


@pytest.mark.parametrize("items", ["boolean", {"type": "fixed", "name": "nothing", "size": 0}])
def test_a_block_of_more_items_than_bytes_are_left_is_refused_before_it_is_walked(items: object) -> None:
    assert walked({"type": "array", "items": items}, long(10**6) + b"\0" * 8) == -1


@pytest.mark.parametrize("kind", ["int", "string", "long", "bytes"])
def test_a_branch_that_a_nullable_type_does_not_have_is_refused(kind: str) -> None:
    assert walked(["null", kind], long(0)) == 1
    assert walked(["null", kind], long(1) + long(0)) == 2
    assert walked(["null", kind], long(2) + long(0)) == -1
    assert walked(["null", kind], long(-1) + long(0)) == -1


@pytest.mark.parametrize("kind", ["float", "boolean"])
def test_a_branch_that_a_nullable_number_does_not_have_is_refused(kind: str) -> None:
    assert walked(["null", kind], long(2) + b"\0" * 4) == -1


def image(*pixels: float) -> np.ndarray:
    return np.frombuffer(np.array(pixels, ">f4").tobytes(), np.uint32)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("pixel", "count"), [(9.9e36, 0), (1.03e37, 1), (1.06e37, 1), (1.1e37, 1), (3e38, 1), (np.inf, 1), (np.nan, 0)]
)
def test_a_pixel_past_1e37_counts_as_infinite_even_if_it_is_alone(pixel: float, count: int, sign: int) -> None:
    assert count_infinite(image(0.0, sign * pixel, 5.0)) == count


@pytest.mark.parametrize("bits", [0x7F80_0001, 0xFF80_0001, 0x7FC0_0000, 0x7FFF_FFFF])
def test_every_pattern_of_nan_is_cut_as_the_one_nan_and_is_not_infinite(bits: int) -> None:
    pixels = np.array([bits, 0x3F80_0000], ">u4")
    out = np.zeros((1, 2), np.uint32)
    cut_pixels(np.frombuffer(pixels.tobytes(), np.uint32), 1, 2, 0, 0, out)
    assert out.tolist() == [[NAN_BITS, 0x3F80_0000]]
    assert count_infinite(np.frombuffer(pixels.tobytes(), np.uint32)) == 0


def test_infinity_is_cut_as_it_is() -> None:
    out = np.zeros((1, 1), np.uint32)
    cut_pixels(image(np.inf), 1, 1, 0, 0, out)
    assert out.view(np.float32)[0, 0] == np.inf


def test_a_schema_of_more_instructions_than_the_bound_is_left_to_fastavro() -> None:
    fields = [{"name": f"f{number}", "type": ["null", "string", "bytes"]} for number in range(4_000)]
    with pytest.raises(UnsupportedSchema, match="too large"):
        compile_program(fastavro.parse_schema({"type": "record", "name": "r", "fields": fields}))


def test_a_masked_pixel_is_not_infinite() -> None:
    assert count_infinite(image(float(np.finfo(np.float32).min), 1.0)) == 0
    assert count_infinite(image(float(np.finfo(np.float32).max), 1.0)) == 1
