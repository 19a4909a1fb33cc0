"""A writer schema, compiled into a flat program that finds the wanted fields of a record and skips the rest.

The program is a table of instructions, four integers each, which `kernels.walk` runs over the record's bytes. What it
does not know how to say (a wanted field of several types) it refuses, and fastavro reads instead. Schemas are bounded
before they come here: in size, depth and number of types, and every type takes a byte at least.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from consumer.decoding.projection import Wanted, records, wanted_of
from consumer.decoding.schema import MAX_DEPTH, Schema

MAX_INSTRUCTIONS: Final = 20_000
FIXED_SIZES: Final = {"float": 4, "double": 8, "boolean": 1, "null": 0}


class Op(IntEnum):
    """What an instruction does; a, b, c are its operands."""

    END = 0
    FIXED = 1  # skip a bytes
    VARINT = 2
    BYTES = 3  # skip a length, and as many bytes
    NULLABLE_FIXED = 4  # c times: a branch; unless it is a, skip b bytes
    NULLABLE_VARINT = 5  # a branch; unless it is a, skip a varint
    NULLABLE_BYTES = 6  # a branch; unless it is a, skip a length and as many bytes
    UNION = 7  # a branch, of a of them; jump to targets[b + branch]
    JUMP = 8  # to a
    ARRAY = 9  # begin a run of blocks of items; to a when there is none
    NEXT = 10  # to a for the next item, and on after the last
    TAKE_VARINT = 11  # into slot a
    TAKE_FLOAT = 12
    TAKE_DOUBLE = 13
    TAKE_BYTES = 14


class UnsupportedSchema(Exception):  # noqa: N818 - it is no fault: fastavro reads these
    """The program cannot say this schema."""


@dataclass(frozen=True, slots=True)
class Program:
    """instructions: (K, 4) int32. targets: (J,) int32, of unions' branches. slots: dotted path of a field → its slot.

    floats: the slots whose value is a float, in every branch that has one.
    """

    instructions: NDArray[np.int32]
    targets: NDArray[np.int32]
    slots: Mapping[str, int]
    floats: frozenset[int]


def compile_program(writer: Schema, metadata: tuple[str, ...] = ()) -> Program:
    """The program for a parsed writer schema, and the metadata that is wanted too. Raises UnsupportedSchema."""
    compiler = _Compiler(dict(records(writer)))
    compiler.record(writer, wanted_of(writer, metadata), "")
    compiler.emit(Op.END)
    instructions = np.array(compiler.instructions, np.int32)
    takers: dict[int, set[Op]] = {}
    for op, slot, *_ in compiler.instructions:
        if op >= Op.TAKE_VARINT:
            takers.setdefault(slot, set()).add(Op(op))
    if any(len(ops) > 1 for ops in takers.values()):
        raise UnsupportedSchema("a wanted field has a union of several types")
    floats = frozenset(slot for slot, ops in takers.items() if ops <= {Op.TAKE_FLOAT, Op.TAKE_DOUBLE})
    return Program(instructions, np.array([*compiler.targets, 0], np.int32), compiler.slots, floats)


@dataclass(slots=True)
class _Compiler:
    named: dict[str, Schema]
    instructions: list[list[int]] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    slots: dict[str, int] = field(default_factory=dict)
    depth: int = 0

    def emit(self, op: Op, a: int = 0, b: int = 0, c: int = 0) -> int:
        """Add an instruction; return its place. A run of like nullable fields is one."""
        last = self.instructions[-1] if self.instructions else []
        if op is Op.NULLABLE_FIXED and last[:3] == [op, a, b] and len(self.instructions) not in self.targets:
            last[3] += c
        else:
            self.instructions.append([op, a, b, c])
        if len(self.instructions) > MAX_INSTRUCTIONS:
            raise UnsupportedSchema("schema is too large")
        return len(self.instructions) - 1

    def record(self, record: Schema, wanted: Wanted, path: str) -> None:
        for one in record["fields"]:
            name = one["name"]
            if name in wanted:
                self.take(one["type"], wanted[name], f"{path}{name}")
            else:
                self.skip(one["type"])

    def take(self, kind: Schema, wanted: Any, path: str) -> None:
        """Code for a wanted field. A null leaves its slots as they are: absent."""
        kind = self.resolved(kind)
        if isinstance(kind, list):
            self.union(kind, lambda branch: self.take(branch, wanted, path))
        elif kind == "null":
            return
        elif wanted is not None and isinstance(kind, dict) and kind.get("type") == "record":
            self.record(kind, wanted, f"{path}.")
        else:
            self.take_value(kind, path)

    def take_value(self, kind: Schema, path: str) -> None:
        plain = kind.get("type") if isinstance(kind, dict) else kind
        ops = {"int": Op.TAKE_VARINT, "long": Op.TAKE_VARINT, "float": Op.TAKE_FLOAT, "double": Op.TAKE_DOUBLE}
        ops |= {"string": Op.TAKE_BYTES, "bytes": Op.TAKE_BYTES}
        if not isinstance(plain, str) or plain not in ops or (isinstance(kind, dict) and "logicalType" in kind):
            raise UnsupportedSchema(f"{path} is of type {plain!r}")
        self.emit(ops[plain], self.slots.setdefault(path, len(self.slots)))

    def skip(self, kind: Schema) -> None:
        """Code that passes over a value."""
        kind = self.resolved(kind)
        if isinstance(kind, list):
            self.skip_union(kind)
            return
        plain = kind["type"] if isinstance(kind, dict) else kind
        if isinstance(plain, dict | list):
            self.skip(plain)
        elif plain == "record":
            self.nested(lambda: self.skip_fields(kind))
        elif plain in {"array", "map"}:
            self.skip_items(kind, plain)
        else:
            self.skip_value(kind, plain)

    def skip_fields(self, record: Schema) -> None:
        for one in record["fields"]:
            self.skip(one["type"])

    def skip_value(self, kind: Schema, plain: str) -> None:
        if plain in FIXED_SIZES:
            self.emit(Op.FIXED, FIXED_SIZES[plain])
        elif plain in {"int", "long", "enum"}:
            self.emit(Op.VARINT)
        elif plain in {"string", "bytes"}:
            self.emit(Op.BYTES)
        elif plain == "fixed":
            self.emit(Op.FIXED, kind["size"])
        else:
            raise UnsupportedSchema(f"type {plain!r} is not known")

    def skip_items(self, kind: Schema, plain: str) -> None:
        begin = self.emit(Op.ARRAY)
        body = len(self.instructions)
        if plain == "map":
            self.emit(Op.BYTES)
        self.nested(lambda: self.skip(kind["items" if plain == "array" else "values"]))
        self.emit(Op.NEXT, body)
        self.instructions[begin][1] = len(self.instructions)
        self.targets.append(len(self.instructions))  # what follows is jumped to: no run may swallow it

    def skip_union(self, branches: list[Schema]) -> None:
        """A union of null and a plain type, as most of ZTF's fields are, is one instruction."""
        if len(branches) == 2 and "null" in branches:
            absent = branches.index("null")
            other = branches[1 - absent]
            if isinstance(other, str) and other not in self.named:
                if other in FIXED_SIZES:
                    self.emit(Op.NULLABLE_FIXED, absent, FIXED_SIZES[other], 1)
                elif other in {"int", "long"}:
                    self.emit(Op.NULLABLE_VARINT, absent)
                else:
                    self.emit(Op.NULLABLE_BYTES, absent)
                return
        self.union(branches, self.skip)

    def union(self, branches: list[Schema], code: Any) -> None:
        base = len(self.targets)
        self.targets += [0] * len(branches)
        self.emit(Op.UNION, len(branches), base)
        ends = []
        for number, branch in enumerate(branches):
            self.targets[base + number] = len(self.instructions)
            self.nested(lambda branch=branch: code(branch))
            ends.append(self.emit(Op.JUMP))
        for end in ends:
            self.instructions[end][1] = len(self.instructions)
        self.targets.append(len(self.instructions))

    def nested(self, code: Any) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise UnsupportedSchema("schema is nested too deeply, or recursive")
        code()
        self.depth -= 1

    def resolved(self, kind: Schema) -> Schema:
        return self.named.get(kind, kind) if isinstance(kind, str) else kind
