"""Work shared among processes: results in the order of the tasks, a bounded number under way."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

from threadpoolctl import threadpool_limits

Task = TypeVar("Task")
Result = TypeVar("Result")

TASKS_AHEAD = 3  # per process: enough to keep all busy, few enough to stay flat in memory
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def _alone(work: Callable[[Task], Result], task: Task) -> Result:
    with threadpool_limits(1):  # as many processes as cores: more threads would only fight
        return work(task)


def ordered(work: Callable[[Task], Result], tasks: Iterable[Task], processes: int) -> Iterator[Result]:
    """`work(task)` of each task, in order; `work` must be importable. One process works in this one."""
    if processes == 1:
        yield from (_alone(work, task) for task in tasks)
        return
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))  # read by the children when they load BLAS
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        waiting: deque[Future[Result]] = deque()
        for task in tasks:
            waiting.append(pool.submit(_alone, work, task))
            if len(waiting) > TASKS_AHEAD * processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
