"""Sequences in a real store: what decisions 3, 4, 7 and 11 of the architecture promise."""

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
import pytest
import redis
from prometheus_client import REGISTRY
from pydantic import SecretStr

from consumer.configuration.settings import StoreSettings
from consumer.embedded import start_store
from consumer.errors import ConfigError, StoreError
from consumer.store.connection import SOCKET_TIMEOUT_S
from consumer.store.redis_store import RedisStore
from consumer.store.sequences import NewEntries, entry_dtype
from tests.support.cluster import Cluster
from tests.support.cluster import cluster as started
from tests.support.line import wait_until

pytestmark = pytest.mark.integration

LATENT = 42


def settings(url: str, **changes: object) -> StoreSettings:
    return StoreSettings.model_validate({"url": url, "timeout_s": 2.0, **changes})


def store(url: str, encoder_id: str = "enc", group: str = "g", **changes: object) -> RedisStore:
    return RedisStore(settings(url, **changes), encoder_id, LATENT, group)


def entries(*alerts: tuple[str, int, float], seed: int = 0) -> NewEntries:
    """Entries of (key, candid, jd); a latent follows from its candid and `seed`."""
    latents = np.stack([np.random.default_rng([seed, candid]).normal(size=LATENT) for _, candid, _ in alerts])
    return NewEntries(
        keys=[key for key, _, _ in alerts],
        candid=np.array([candid for _, candid, _ in alerts], np.int64),
        jd=np.array([jd for _, _, jd in alerts], np.float64),
        band=np.ones(len(alerts), np.uint8),
        latents=latents.astype(np.float32),
    )


def contents(url: str) -> dict[bytes, dict[bytes, bytes]]:
    client = redis.Redis.from_url(url)
    return {key: client.hgetall(key) for key in client.scan_iter("latent:*:f[24]:*")}


def test_the_first_latent_of_a_candid_stays(store_url: str) -> None:
    first = entries(("a", 1, 10.0), seed=1)
    store(store_url).remember(first, {})
    again = store(store_url).remember(entries(("a", 1, 10.0), seed=2), {})
    np.testing.assert_array_equal(again[0].latents, first.latents)


def test_an_alert_is_judged_on_what_came_before_it_and_not_on_what_came_after(store_url: str) -> None:
    histories = store(store_url).remember(entries(("a", 3, 30.0), ("a", 1, 10.0), ("a", 2, 20.0), ("b", 4, 5.0)), {})
    assert [list(history.jd) for history in histories] == [[30.0], [10.0], [10.0, 20.0], [5.0]]
    assert [history.late for history in histories] == [False, True, True, False]


def test_batches_do_not_change_what_an_alert_is_judged_on(store_url: str) -> None:
    random = np.random.default_rng(0)
    stream = [(f"o{random.integers(6)}", candid, float(random.integers(40))) for candid in range(60)]

    def judged(size: int) -> list[tuple[list[float], bool]]:
        client = redis.Redis.from_url(store_url)
        client.flushdb()
        one = store(store_url)
        batches = (stream[start : start + size] for start in range(0, len(stream), size))
        found = [history for batch in batches for history in one.remember(entries(*batch), {})]
        return [(history.latents.ravel().tolist(), history.late) for history in found]

    assert judged(1) == judged(7) == judged(60)


def test_only_the_newest_are_used_and_the_surplus_goes_at_the_next_visit(store_url: str) -> None:
    one = store(store_url, max_history=3)
    history = one.remember(entries(*[("a", candid, float(candid)) for candid in range(1, 6)]), {})[-1]
    assert list(history.jd) == [3.0, 4.0, 5.0]
    assert history.truncated
    (before,) = contents(store_url).values()
    assert len(before) == 5
    one.remember(entries(("a", 6, 6.0)), {})
    (after,) = contents(store_url).values()
    assert sorted(int(candid) for candid in after) == [3, 4, 5, 6]


def test_alerts_older_than_history_days_do_not_count(store_url: str) -> None:
    one = store(store_url, history_days=30.0, expire_days=40.0)
    history = one.remember(entries(("a", 1, 100.0), ("a", 2, 190.0), ("a", 3, 200.0)), {})[-1]
    assert list(history.jd) == [190.0, 200.0]
    assert history.truncated


def test_latents_of_two_encoders_or_two_dtypes_never_mix(store_url: str) -> None:
    for one in (store(store_url, "old"), store(store_url, "new"), store(store_url, "new", dtype="float16")):
        assert len(one.remember(entries(("a", 1, 10.0)), {})[0]) == 1
    assert len(contents(store_url)) == 3


def test_a_batch_takes_one_round_trip(store_url: str) -> None:
    one = store(store_url, max_history=2)
    many = entries(*[(f"o{candid % 9}", candid, float(candid)) for candid in range(100)])
    one.remember(many, {})  # leaves surplus, so that the next visit has all kinds of commands
    client = redis.Redis.from_url(store_url)

    def reads() -> int:
        return int(client.info("stats")["total_reads_processed"])

    idle = -reads() + reads()
    before = reads()
    one.remember(entries(*[(f"o{candid % 9}", candid, float(candid)) for candid in range(100, 110)]), {("t", 0): 5})
    assert reads() - before - idle == 1


def test_keys_expire_only_to_collect_garbage(store_url: str) -> None:
    store(store_url).remember(entries(("a", 1, 10.0)), {})
    client = redis.Redis.from_url(store_url)
    (key,) = client.scan_iter("latent:*")
    assert 399 * 86_400 < client.ttl(key) <= 400 * 86_400


def test_the_offset_moves_forward_and_never_back(store_url: str) -> None:
    one = store(store_url)
    assert one.applied(("t", 0)) is None
    one.remember(entries(("a", 1, 10.0)), {("t", 0): 5, ("t", 1): 7})
    one.remember(entries(("a", 2, 11.0)), {("t", 0): 9})
    store(store_url).remember(entries(("a", 1, 10.0)), {("t", 0): 3})  # another member, behind
    assert (one.applied(("t", 0)), one.applied(("t", 1))) == (9, 7)


def test_a_store_that_lost_writes_is_noticed_and_the_loss_is_not_covered_up(store_url: str) -> None:
    one = store(store_url)
    one.remember(entries(("a", 1, 10.0)), {("t", 0): 50})
    redis.Redis.from_url(store_url).flushdb()
    with pytest.raises(StoreError, match="lost writes"):
        one.remember(entries(("a", 2, 11.0)), {("t", 0): 60})
    assert store(store_url).applied(("t", 0)) is None


def forget(url: str, pattern: str) -> None:
    client = redis.Redis.from_url(url)
    client.delete(*client.scan_iter(pattern))
    client.close()


@pytest.mark.parametrize("pattern", ["latent:*", "latent:enc:*"])
def test_sequences_deleted_by_their_prefix_are_noticed_at_the_next_batch_and_refilled_at_the_next_start(
    store_url: str, pattern: str
) -> None:
    one = store(store_url)
    one.remember(entries(("a", 1, 10.0)), {("t", 0): 5, ("t", 1): 7})
    forget(store_url, pattern)
    for _ in range(2):  # the batch itself does not cover it up
        with pytest.raises(
            StoreError, match=r"lost writes: the sequences latent:enc:f4:\* are gone; restart to refill it"
        ):
            one.remember(entries(("a", 2, 11.0)), {("t", 0): 6})
    again = store(store_url)
    assert (again.applied(("t", 0)), again.applied(("t", 1))) == (None, None)
    again.remember(entries(("a", 1, 10.0)), {("t", 0): 3})
    assert (again.applied(("t", 0)), again.applied(("t", 1))) == (3, None)


def test_members_and_groups_that_did_not_notice_a_deletion_are_told_of_it_after_the_refill(store_url: str) -> None:
    other, idle = store(store_url), store(store_url, group="h")
    other.remember(entries(("a", 2, 11.0)), {("t", 1): 7})
    idle.remember(entries(("b", 1, 10.0)), {("t", 0): 9})
    forget(store_url, "latent:*")
    first = store(store_url)
    assert first.applied(("t", 0)) is None
    first.remember(entries(("a", 1, 10.0)), {("t", 0): 3})
    with pytest.raises(StoreError, match=r"sequences .* are gone"):
        other.remember(entries(("a", 3, 12.0)), {("t", 1): 8})
    assert store(store_url, group="h").applied(("t", 0)) is None


def test_a_deletion_between_a_member_s_start_and_its_first_batch_is_noticed(store_url: str) -> None:
    store(store_url).remember(entries(("a", 1, 10.0)), {("t", 0): 5})
    one = store(store_url)
    assert one.applied(("t", 0)) == 5
    forget(store_url, "latent:*")
    with pytest.raises(StoreError, match=r"sequences .* are gone"):
        one.remember(entries(("a", 2, 11.0)), {("t", 0): 6})


def test_offsets_kept_by_an_earlier_version_or_for_another_encoder_are_believed(store_url: str) -> None:
    redis.Redis.from_url(store_url).hset("applied:g:t", "0", "7")
    one = store(store_url)
    assert one.applied(("t", 0)) == 7
    one.remember(entries(("a", 1, 10.0)), {("t", 0): 9})
    assert one.applied(("t", 0)) == store(store_url, "new").applied(("t", 0)) == 9


def test_a_loss_is_noticed_by_a_member_that_was_behind_and_heard_how_far_the_store_is(store_url: str) -> None:
    """The applied offset is what the store says, and not what this member asked for."""
    store(store_url).remember(entries(("a", 1, 10.0)), {("t", 0): 9})
    behind = store(store_url)
    behind.remember(entries(("a", 1, 10.0)), {("t", 0): 3})
    redis.Redis.from_url(store_url).hset("applied:g:t", "0", 5)
    with pytest.raises(StoreError, match=r"holds g:t \[0\] up to 5, not 9"):
        behind.remember(entries(("a", 2, 11.0)), {("t", 0): 6})


def test_a_member_that_asks_how_far_the_store_is_takes_its_word_for_it(store_url: str) -> None:
    """As at an assignment: what is missing is read again, and that is no loss any more."""
    one = store(store_url)
    one.remember(entries(("a", 1, 10.0)), {("t", 0): 50})
    redis.Redis.from_url(store_url).flushdb()
    assert one.applied(("t", 0)) is None
    one.remember(entries(("a", 1, 10.0)), {("t", 0): 10})
    assert one.applied(("t", 0)) == 10


def test_surplus_is_deleted_once_and_not_at_every_later_visit(store_url: str) -> None:
    one = store(store_url, max_history=3)
    one.remember(entries(*[("a", candid, float(candid)) for candid in range(1, 6)]), {})
    client = redis.Redis.from_url(store_url)
    client.config_resetstat()
    for _ in range(3):
        one.remember(entries(("a", 5, 5.0)), {})
    assert client.info("commandstats")["cmdstat_hdel"]["calls"] == 1
    assert one.sequence("a").candid.tolist() == [3, 4, 5]


def test_where_a_group_began_is_decided_once(store_url: str) -> None:
    one = store(store_url)
    assert one.start() is None
    one.begin({("ztf_20260101_programid1", 0): 100})
    one.begin({("ztf_20260101_programid1", 0): 200, ("ztf_20260101_programid1", 1): 7})
    assert one.start() == {("ztf_20260101_programid1", 0): 100, ("ztf_20260101_programid1", 1): 7}


def packed(jd: float, component: float) -> bytes:
    """An entry whose latent has one odd component."""
    [whole] = entries(("a", 3, jd)).packed(entry_dtype(LATENT, "f4"))
    return whole[:-4] + np.array(component, "<f4").tobytes()


DAMAGED = {
    "nan latent": (b"1", packed(9.0, np.nan)),
    "infinite latent": (b"1", packed(9.0, -np.inf)),
    "latent with a bit flipped": (b"1", packed(9.0, 1e30)),
    "nan jd": (b"1", packed(np.nan, 0.0)),
    "infinite jd": (b"1", packed(np.inf, 0.0)),
    "wrong size": (b"1", b"what is this"),
    "empty": (b"1", b""),
    "no candid": (b"objectId", packed(9.0, 0.0)),
    "candid past 64 bits": (b"99999999999999999999", packed(9.0, 0.0)),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_entry_is_counted_and_dropped_and_no_one_is_judged_on_it(store_url: str, damage: str) -> None:
    one, client = store(store_url), redis.Redis.from_url(store_url)
    first = one.remember(entries(("a", 2, 10.0), ("b", 5, 1.0)), {})[0]
    client.hset("latent:enc:f4:a", *DAMAGED[damage])
    assert one.sequence("a").candid.tolist() == [2]
    before = REGISTRY.get_sample_value("estampa_damaged_entries_total")
    history, other = one.remember(entries(("a", 4, 11.0), ("b", 6, 2.0)), {})
    assert (history.jd.tolist(), other.jd.tolist()) == ([10.0, 11.0], [1.0, 2.0])
    np.testing.assert_array_equal(history.latents[0], first.latents[0])
    assert REGISTRY.get_sample_value("estampa_damaged_entries_total") == before + 1
    assert sorted(client.hgetall("latent:enc:f4:a")) == [b"2", b"4"]


def test_a_damaged_entry_of_an_alert_that_comes_again_is_written_anew(store_url: str) -> None:
    one, client = store(store_url), redis.Redis.from_url(store_url)
    [clean] = one.remember(entries(("a", 1, 10.0)), {})
    sound = client.hgetall("latent:enc:f4:a")
    client.hset("latent:enc:f4:a", *DAMAGED["nan latent"])
    newer, again = one.remember(entries(("a", 2, 11.0), ("a", 1, 10.0)), {})
    assert newer.jd.tolist() == [11.0]
    np.testing.assert_array_equal(again.latents, clean.latents)
    assert again.late  # as one that was never held
    assert client.hgetall("latent:enc:f4:a").items() >= sound.items()


@pytest.mark.parametrize(("dtype", "component"), [("float32", np.nan), ("float32", 1e21), ("float16", 1e5)])
def test_a_latent_that_is_no_number_ends_the_run_before_it_is_stored(
    store_url: str, dtype: str, component: float
) -> None:
    batch = entries(("a", 1, 10.0), ("b", 2, 11.0))
    batch.latents[1, 7] = component
    with pytest.raises(ConfigError, match="the model gives candid 2 a latent"):
        store(store_url, dtype=dtype).remember(batch, {})
    assert contents(store_url) == {}


def test_a_store_that_evicts_is_refused(tmp_path: Path) -> None:
    server = start_store(tmp_path, options=("--maxmemory-policy", "allkeys-lru"))
    try:
        one = store(f"redis://{server.address}")
        with pytest.raises(StoreError, match="noeviction"):
            one.check()
        assert not one.answers()
    finally:
        server.stop()


def test_a_probe_of_a_store_that_hangs_has_no_patience(tmp_path: Path) -> None:
    server = start_store(tmp_path)
    try:
        one = store(f"redis://{server.address}", timeout_s=30.0)
        assert one.answers()
        server.process.send_signal(signal.SIGSTOP)
        started = time.monotonic()
        assert not one.answers()
        assert time.monotonic() - started < SOCKET_TIMEOUT_S
        server.process.send_signal(signal.SIGCONT)
        wait_until(one.answers, what="the answer of a store that runs again")
        one.close()
    finally:
        server.process.send_signal(signal.SIGCONT)
        server.stop()


def test_a_wrong_password_is_one_line_with_the_mend_and_without_the_password(tmp_path: Path) -> None:
    server = start_store(tmp_path, options=("--requirepass", "right"))
    try:
        with pytest.raises(StoreError, match=r"refuses this client.*store\.password") as error:
            store(f"redis://:wrong-one@{server.address}")
        assert "wrong-one" not in str(error.value)
        store("redis://" + server.address, password=SecretStr("right")).check()
    finally:
        server.stop()


def test_a_store_that_comes_back_within_patience_is_waited_for(tmp_path: Path) -> None:
    server = start_store(tmp_path, keep=True)
    one = store(f"redis://{server.address}", timeout_s=20.0)
    one.remember(entries(("a", 1, 10.0)), {("t", 0): 1})
    server.stop()
    again = start_store(tmp_path, keep=True, port=int(server.address.split(":")[1]))
    try:
        assert len(one.remember(entries(("a", 2, 11.0)), {("t", 0): 2})[0]) == 2
    finally:
        again.stop()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with started(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture
def cluster(running: Cluster) -> Cluster:
    """A Cluster that is empty and whole."""
    for node in running.primaries:
        if node.server.process.poll() is not None:
            node.restart(keep=False)
        node.client.flushall()
    wait_until(running.whole, 20, "the Cluster")
    return running


def of_cluster(cluster: Cluster, timeout_s: float = 60.0) -> RedisStore:
    return store(cluster.url, cluster=True, timeout_s=timeout_s)


MANY = [(f"o{candid % 12}", candid, float(candid % 17)) for candid in range(80)]


def test_a_cluster_gives_the_same_answers(cluster: Cluster, store_url: str) -> None:
    stream, offsets = entries(*MANY), {("t", 0): 40, ("t", 1): 40}
    one, other = of_cluster(cluster), store(store_url)
    one.check()
    for mine, theirs in zip(one.remember(stream, offsets), other.remember(stream, offsets), strict=True):
        np.testing.assert_array_equal(mine.latents, theirs.latents)
    assert one.applied(("t", 1)) == other.applied(("t", 1)) == 40
    assert one.sequence("o3").candid.tolist() == other.sequence("o3").candid.tolist()


def test_a_batch_takes_one_round_trip_with_each_server_of_a_cluster(cluster: Cluster) -> None:
    one = of_cluster(cluster)
    one.remember(entries(*MANY), {("t", 0): 1})
    clients = [node.client for node in cluster.primaries]

    def reads() -> list[int]:
        return [int(client.info("stats")["total_reads_processed"]) for client in clients]

    alone = [after - before for before, after in zip(reads(), reads(), strict=True)]
    before = reads()
    one.remember(entries(*[(f"o{candid % 12}", 1000 + candid, 20.0) for candid in range(40)]), {("t", 0): 5})
    spent = [after - then - idle for after, then, idle in zip(reads(), before, alone, strict=True)]
    assert max(spent) <= 2, spent  # the servers' own talk may come between


def test_each_server_of_a_cluster_says_what_it_holds_itself(cluster: Cluster) -> None:
    """So a server that lost its last writes is noticed, whichever server holds another's note."""
    one = of_cluster(cluster)
    for lost in range(3):
        one.remember(entries(*MANY), {("t", 0): 40 + lost})
        assert one.applied(("t", 0)) == 40 + lost
        one.remember(entries(("o1", 1, 1.0)), {("t", 0): 40 + lost})
        cluster.primaries[lost].client.flushall()
        with pytest.raises(StoreError, match="lost writes"):
            one.remember(entries(("o1", 1, 1.0)), {("t", 0): 60 + lost})
        assert of_cluster(cluster).applied(("t", 0)) is None
        one = of_cluster(cluster)


def test_sequences_deleted_on_one_server_of_a_cluster_are_noticed(cluster: Cluster) -> None:
    one = of_cluster(cluster)
    one.remember(entries(*MANY), {("t", 0): 40})
    for node in cluster.primaries:
        for key in node.client.scan_iter("latent:*"):  # in one command only those of one slot
            node.client.delete(key)
        with pytest.raises(StoreError, match=r"sequences latent:enc:f4:\* are gone"):
            one.remember(entries(("o1", 1, 1.0)), {("t", 0): 41})
        one = of_cluster(cluster)
        assert one.applied(("t", 0)) is None
        one.remember(entries(*MANY), {("t", 0): 40})
        assert one.applied(("t", 0)) == 40


def test_a_cluster_s_server_that_comes_back_within_patience_is_waited_for(cluster: Cluster) -> None:
    one, node = of_cluster(cluster), cluster.primaries[1]
    node.client.config_set("appendfsync", "always")  # or the kill may cost its last second
    one.remember(entries(*MANY), {("t", 0): 1})
    node.kill()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(
            one.remember, entries(*[(key, candid + 500, jd) for key, candid, jd in MANY]), {("t", 0): 2}
        )
        wait([asked], timeout=1)
        assert not asked.done()
        node.restart(keep=True)
        assert len(asked.result(90)) == 80
    assert len(one.sequence("o1").candid) == 14


def test_a_cluster_whose_server_stays_away_is_one_clear_line_in_time(cluster: Cluster) -> None:
    one = of_cluster(cluster, timeout_s=2.0)
    cluster.primaries[2].kill()
    started = time.monotonic()
    with pytest.raises(StoreError, match=r"look at its nodes|does not answer"):
        one.remember(entries(*MANY), {("t", 0): 1})
    assert time.monotonic() - started < 30
