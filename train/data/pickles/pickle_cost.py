"""What a pickle would build, worked out from its program before any of it is run.

A number in a pickle's memo takes two bytes and stands for whatever was built before: lists of lists of one list grow
without end, and to compare or hash such a thing never ends. And BUILD sets attributes of whatever it is given,
functions of this program among them. Both show in the program as `pickletools` spells it.
"""

import pickletools
from dataclasses import dataclass, field
from typing import IO, Any, Final

FREE_PARTS: Final = 1_000_000
PARTS_A_STEP: Final = 20
"""A pickle may stand for so many parts, and for so many more with each step of its program. Tables take one a step."""
GLOBALS: Final = frozenset({"GLOBAL", "STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"})
IN_PLACE: Final = frozenset({"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"})
CONTAINERS: Final = frozenset({
    "EMPTY_LIST", "LIST", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_DICT", "DICT", "EMPTY_SET",
    "FROZENSET", "REDUCE", "OBJ", "NEWOBJ", "NEWOBJ_EX"
})  # fmt: skip


@dataclass(slots=True, eq=False)
class _Container:
    """An object that holds others. leaves: those that hold nothing. size: parts in all, once it is worked out."""

    parts: "list[_Container]" = field(default_factory=list)
    leaves: int = 1
    size: int = 0

    def add(self, others: "list[Any]") -> None:
        for other in others:
            if isinstance(other, _Container):
                self.parts.append(other)
            else:
                self.leaves += 1


LEAF: Final = object()
GLOBAL: Final = object()
MARK: Final = object()


def check_cost(stream: IO[bytes]) -> None:
    """Raise ValueError where the program builds more than it spells, holds itself, or alters a name that it asks for.

    So it does where a number has memory set aside for what the file cannot hold.
    """
    file_bytes = stream.seek(0, 2)
    stream.seek(0)
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    containers: list[_Container] = []
    steps = 0
    for opcode, argument, position in pickletools.genops(stream):
        steps += 1
        number: Any = argument
        if (opcode.name == "FRAME" or opcode.name.endswith("PUT")) and int(number or 0) > file_bytes:
            raise ValueError(f"{opcode.name} at byte {position} claims {argument}, the file has {file_bytes} bytes")
        if opcode.name in {"PUT", "BINPUT", "LONG_BINPUT"}:
            memo[int(number)] = stack[-1]
        elif opcode.name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif opcode.name in {"GET", "BINGET", "LONG_BINGET"}:
            stack.append(memo[int(number)])
        else:
            _step(opcode, int(position or 0), stack, containers)
    stream.seek(0)
    limit = FREE_PARTS + PARTS_A_STEP * steps
    for container in containers:
        if _size(container, limit) > limit:
            raise ValueError(f"its {steps} steps stand for more than {limit} parts, one within another")


def _step(opcode: Any, position: int, stack: list[Any], containers: list[_Container]) -> None:
    """What one step does to the stack."""
    if opcode.name == "DUP":
        stack.append(stack[-1])
        return
    taken = _taken(opcode, stack)
    if opcode.name in IN_PLACE:
        changed, *others = taken
        if changed is GLOBAL:
            raise ValueError(f"{opcode.name} at byte {position} alters a name that it asks for")
        if isinstance(changed, _Container):
            changed.add(others)
        stack.append(changed)
    elif opcode.name in CONTAINERS:
        containers.append(_Container())
        containers[-1].add(taken)
        stack.append(containers[-1])
    else:
        kind = GLOBAL if opcode.name in GLOBALS else MARK if opcode.name == "MARK" else LEAF
        stack += [kind] * len(opcode.stack_after)


def _taken(opcode: Any, stack: list[Any]) -> list[Any]:
    """What a step takes off the stack, marks left out: down to the last mark where it asks for one."""
    names = [kind.name for kind in opcode.stack_before]
    count = len(names)
    if "mark" in names:
        count = stack[::-1].index(MARK) + 1 + names.index("mark")
    if count > len(stack):
        raise ValueError(f"{opcode.name} finds {len(stack)} of {count} objects")
    taken = stack[len(stack) - count :]
    del stack[len(stack) - count :]
    return [one for one in taken if one is not MARK]


def _size(container: _Container, limit: int) -> int:
    """Parts of a container, each counted wherever it is held, up to a little more than `limit`."""
    pending = [container]
    while pending:
        now = pending[-1]
        if now.size > 0:
            pending.pop()
            continue
        waiting = [part for part in now.parts if part.size == 0]
        if now.size < 0 and waiting:
            raise ValueError("an object in it holds itself")
        if any(part.size < 0 for part in now.parts):
            raise ValueError("an object in it holds itself")
        if waiting:
            now.size = -1
            pending += waiting
        else:
            now.size = min(now.leaves + sum(part.size for part in now.parts), limit + 1)
    return container.size
