"""`estampa` that waits to be stopped once HOLD_AFTER batches are remembered: `python -m tests.support.held WORDS…`.

Whoever stops or kills it cannot come too late, however slow. With `--jobs` each process holds: it imports this too.
"""

import os
import time
from typing import Any

from consumer.__main__ import main
from consumer.archive.source import ArchiveSource
from consumer.kafka.source import KafkaSource
from consumer.store.redis_store import RedisStore

remember = RedisStore.remember
left, told = int(os.environ["HOLD_AFTER"]), False


def remembering(self: RedisStore, *words: Any) -> Any:
    global left  # noqa: PLW0603
    histories = remember(self, *words)
    left -= 1
    while left <= 0 and not told:
        time.sleep(0.01)
    return histories


def telling(stop: Any) -> Any:
    def stopping(self: Any) -> None:
        global told  # noqa: PLW0603
        told = True
        stop(self)

    return stopping


RedisStore.remember = remembering  # type: ignore[method-assign]
for source in (ArchiveSource, KafkaSource):
    source.stop = telling(source.stop)  # type: ignore[method-assign]

if __name__ == "__main__":
    main()
