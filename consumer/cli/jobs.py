"""One piece of work, shared out to several processes of this machine."""

import os
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar, cast

from consumer.cli.runtime import stopping
from consumer.decode_stage import Shard
from consumer.errors import EstampaError, JobError

T = TypeVar("T")


def in_processes(work: Callable[[Shard], T], count: int) -> list[T]:
    """What `work` gives for each of `count` shares, in order. It is pickled, and so is what it gives.

    SIGINT and SIGTERM are passed on. A share that fails stops the others in order; then its error is raised.
    """
    spawn = get_context("spawn")
    running: dict[Connection, BaseProcess] = {}
    for index in range(count):
        receiver, sender = spawn.Pipe(duplex=False)
        process = spawn.Process(target=_run, args=(work, Shard(index, count), sender), name=f"job {index}", daemon=True)
        process.start()
        sender.close()
        running[receiver] = process

    def stop() -> None:
        for process in running.values():
            process.terminate()

    with stopping(stop):
        return _collected(running, stop)


def _collected(running: dict[Connection, BaseProcess], stop: Callable[[], None]) -> list[Any]:
    """Each process's outcome, in their order. The first failure stops the rest, and is raised when they have ended."""
    outcomes: dict[object, Any] = {}
    failures: list[EstampaError] = []
    while len(outcomes) < len(running):
        for receiver in wait([one for one in running if one not in outcomes]):
            outcomes[receiver] = outcome = _outcome(cast("Connection", receiver), running)
            if isinstance(outcome, EstampaError):
                failures.append(outcome)
                stop()
    if failures:
        raise failures[0]
    return [outcomes[receiver] for receiver in running]


def _outcome(receiver: Connection, running: dict[Connection, BaseProcess]) -> Any:
    process = running[receiver]
    try:
        return receiver.recv()
    except (EOFError, OSError):  # killed before it had sent, or while it did
        process.join()
        return JobError(f"{process.name} ended with exit code {process.exitcode}; its own lines above say why")


def _run(work: Callable[[Shard], object], share: Shard, sender: Connection) -> None:
    """In the new process: work, and send what came of it."""
    os.setpgrp()  # a terminal's Ctrl-C reaches the parent alone, which passes it on once
    try:
        sender.send(work(share))
    except EstampaError as error:
        sender.send(error)
    finally:
        sender.close()
