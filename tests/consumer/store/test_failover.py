"""A store that is there and cannot serve for now, as in the seconds of a failover: real servers in each such state."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

import consumer.store.connection
from consumer.embedded import free_port, start_store
from consumer.errors import StoreError
from consumer.store.redis_store import RedisStore
from consumer.store.sequences import NewEntries
from tests.chaos.proxy import Proxy
from tests.consumer.store.test_redis_store import LATENT, entries, store
from tests.support.line import wait_until

pytestmark = pytest.mark.integration

Change = Callable[[redis.Redis, Path], None]
NOWHERE = ("127.0.0.1", 1)
"""A primary that is never there."""
NO_ENTRIES = NewEntries([], *(np.empty(0, kind) for kind in ("i8", "f8", "u1")), np.empty((0, LATENT), "f4"))


def follow_nobody(client: redis.Redis, _: Path) -> None:
    client.replicaof("NO", "ONE")


def become_replica(client: redis.Redis, _: Path) -> None:
    client.replicaof(*NOWHERE)


def become_stale_replica(client: redis.Redis, _: Path) -> None:
    client.config_set("replica-serve-stale-data", "no")
    client.replicaof(*NOWHERE)


def ask_for_replicas(client: redis.Redis, _: Path) -> None:
    client.config_set("min-replicas-to-write", "1")


def ask_for_none(client: redis.Redis, _: Path) -> None:
    client.config_set("min-replicas-to-write", "0")


def fail_to_save(client: redis.Redis, folder: Path) -> None:
    (folder / "dump.rdb" / "taken").mkdir(parents=True)
    client.config_set("save", "3600 1")
    client.bgsave()
    wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", 20, "a save that fails")


def write_all_the_same(client: redis.Redis, _: Path) -> None:
    client.config_set("stop-writes-on-bgsave-error", "no")


def run_for_ever(client: redis.Redis, _: Path) -> None:
    client.config_set("busy-reply-threshold", "1")
    port = client.connection_pool.connection_kwargs["port"]

    def run() -> None:
        with contextlib.suppress(redis.RedisError):  # it is killed
            redis.Redis(port=port, retry=Retry(NoBackoff(), 0)).eval("while true do end", 0)

    def busy() -> bool:
        try:
            client.ping()
        except redis.ResponseError:
            return True
        return False

    threading.Thread(target=run, daemon=True).start()
    wait_until(busy, 20, "the script")


def kill_script(client: redis.Redis, _: Path) -> None:
    client.script_kill()


STATES = {
    "READONLY": (become_replica, follow_nobody, "point store.url at the primary"),
    "MASTERDOWN": (become_stale_replica, follow_nobody, "look at the primary"),
    "NOREPLICAS": (ask_for_replicas, ask_for_none, "look at its replicas"),
    "MISCONF": (fail_to_save, write_all_the_same, "look at its log and its disk"),
    "BUSY": (run_for_ever, kill_script, "SCRIPT KILL"),
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[redis.Redis]:
    made = start_store(tmp_path)
    yield redis.Redis(port=int(made.address.split(":")[1]))
    made.process.kill()  # one that runs a script does not hear SIGTERM
    made.process.wait()


def store_at(client: redis.Redis, timeout_s: float) -> RedisStore:
    return store(f"redis://127.0.0.1:{client.connection_pool.connection_kwargs['port']}", timeout_s=timeout_s)


@pytest.mark.parametrize("code", STATES)
def test_a_state_of_a_failover_is_waited_for(code: str, server: redis.Redis, tmp_path: Path) -> None:
    enter, leave, _ = STATES[code]
    one = store_at(server, 60.0)
    enter(server, tmp_path)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(one.remember, entries(("a", 1, 10.0)), {("t", 0): 1})
        wait([asked], timeout=0.5)
        assert not asked.done()
        leave(server, tmp_path)
        assert len(asked.result(60)[0]) == 1
    assert one.applied(("t", 0)) == 1


@pytest.mark.parametrize("code", STATES)
def test_a_state_of_a_failover_that_lasts_is_one_line_that_explains_it(
    code: str, server: redis.Redis, tmp_path: Path
) -> None:
    enter, _, mend = STATES[code]
    one = store_at(server, 0.5)
    enter(server, tmp_path)
    ask = one.sequence if code == "MASTERDOWN" else lambda key: one.remember(entries((key, 1, 10.0)), {})
    with pytest.raises(StoreError, match=rf"\({code}\), for 0.5 s; .*{mend}"):
        ask("a")
    with pytest.raises(StoreError, match=r"for 0.5 s; ") as caught:  # a script may be answered by another code
        one.remember(NO_ENTRIES, {("t", 0): 1})
    assert not any(raw in str(caught.value) for raw in ("\n", "\\x", "HSETNX", "EVAL", "script:"))


def test_a_replica_is_refused_at_the_start_and_not_ready(server: redis.Redis) -> None:
    one = store_at(server, 0.5)
    assert one.answers()
    server.replicaof(*NOWHERE)
    with pytest.raises(StoreError, match="is a replica and took no writes"):
        one.check()
    assert not one.answers()


def test_a_name_that_moves_to_the_new_primary_is_followed_while_the_old_one_still_answers(
    server: redis.Redis, tmp_path: Path
) -> None:
    new = start_store(tmp_path / "new")
    name = Proxy(f"127.0.0.1:{server.connection_pool.connection_kwargs['port']}")
    try:
        one = store(f"redis://{name.address}", timeout_s=60.0)
        one.remember(entries(("a", 1, 10.0)), {})
        server.replicaof(*NOWHERE)
        name.target = new.address
        assert len(one.remember(entries(("a", 2, 11.0)), {})[0]) == 1
        assert name.cuts == 0
    finally:
        name.close()
        new.stop()


def test_a_full_store_is_one_line_with_the_mend_and_is_not_waited_for(server: redis.Redis) -> None:
    one = store_at(server, 600.0)
    server.config_set("maxmemory", "1")
    with pytest.raises(StoreError, match=r"is full: raise its maxmemory, add shards, or lower store.max_history"):
        one.remember(entries(("a", 1, 10.0)), {("t", 0): 1})


def test_a_store_that_reads_its_log_at_the_start_is_waited_for_longer_than_a_wrong_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    first, client = start_store(tmp_path, port=port), redis.Redis(port=port)
    store(f"redis://{first.address}").remember(entries(*[(f"o{number}", number, 1.0) for number in range(600)]), {})
    client.save()
    first.stop()
    slowly = ("--key-load-delay", "100000", "--loading-process-events-interval-bytes", "1024")
    monkeypatch.setattr(consumer.store.connection, "CONNECT_S", 0.0)
    with ThreadPoolExecutor(2) as pool:
        starting = pool.submit(start_store, tmp_path, port=port, options=slowly)
        wait_until(lambda: loads(client), 20, "the loading")
        opening = pool.submit(store, f"redis://127.0.0.1:{port}", timeout_s=60.0)
        wait([opening], timeout=0.5)
        assert not opening.done()
        client.config_set("key-load-delay", "0")
        assert opening.result(60).sequence("o7").candid.tolist() == [7]
        starting.result(60).stop()


def loads(client: redis.Redis) -> bool:
    try:
        return bool(client.info("persistence")["loading"])
    except redis.ConnectionError:
        return False
