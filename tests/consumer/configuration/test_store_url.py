"""The store's URL: what redis-py takes and we can do with is admitted, and nothing else."""

from pathlib import Path

import pytest
import redis

from consumer.configuration.load import load_settings
from consumer.configuration.settings import Settings
from consumer.errors import ConfigError
from consumer.store.redis_store import RedisStore

SECRET = "hunter2"


def loaded(url: str, **store: object) -> Settings:
    return load_settings(None, {"store": {"url": url, **store}})


def refusal(url: str, **store: object) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(url, **store)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("decode_responses=true", "option 'decode_responses' that is not known; known are db, client_name"),
        ("bogus=1", "option 'bogus' that is not known; known are db, client_name"),
        ("protocol=2", "option 'protocol' that is not known"),
        ("host=elsewhere", "option 'host' that is not known"),
        ("retry_on_error=x", "option 'retry_on_error' that is not known"),
        ("DB=1", "option 'DB' that is not known"),
        ("db=x", "option db that is no number of a database"),
        ("db=", "option db that is no number of a database"),
        ("db=-1", "option db that is no number of a database"),
        ("db=1&db=2", "an option twice"),
        ("max_connections=x", "option max_connections that is no whole number of at least 2"),
        ("max_connections=0", "option max_connections that is no whole number of at least 2"),
        ("max_connections=1e9", "option max_connections that is no whole number of at least 2"),
        ("socket_timeout=soon", "option socket_timeout that is no number of seconds"),
        ("socket_timeout=nan", "option socket_timeout that is no number of seconds"),
        ("socket_timeout=0", "option socket_timeout that is no number of seconds"),
        ("socket_connect_timeout=1e12", "option socket_connect_timeout that is no number of seconds"),
        ("health_check_interval=0.5", "option health_check_interval that is no whole number"),
        ("socket_keepalive=maybe", "option socket_keepalive that is no word of true, false"),
        ("client_name=two words", "option client_name that is no name without spaces"),
        ("ssl_ca_certs=/etc/hostname", "option ssl_ca_certs, which needs rediss://"),
    ],
)
def test_an_option_that_would_not_do_is_one_line_that_names_it(query: str, said: str) -> None:
    line = refusal(f"redis://h/?{query}")
    assert line.startswith("store.url: ")
    assert said in line


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("ssl_ca_certs=/nowhere.pem", "option ssl_ca_certs that is no file that exists"),
        ("ssl_ca_path=/nowhere", "option ssl_ca_path that is no folder that exists"),
        ("ssl_cert_reqs=maybe", "option ssl_cert_reqs that is no word of none, optional, required"),
        ("ssl_check_hostname=maybe", "option ssl_check_hostname that is no word of true, false"),
        (f"ssl_keyfile={__file__}", "has ssl_keyfile without ssl_certfile; give both"),
    ],
)
def test_an_option_of_tls_that_would_not_do_is_one_line_that_names_it(query: str, said: str) -> None:
    assert said in refusal(f"rediss://h/?{query}")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://h/one", "has no number for a database"),
        ("redis://h/0/1", "has no number for a database"),
        ("redis://h/1?db=2", "an option twice"),
        ("unix://", "names no socket"),
        ("unix:///run/store?socket_keepalive=1", "socket_keepalive, which a unix:// socket does not have"),
    ],
)
def test_a_place_that_is_none_is_one_line(url: str, said: str) -> None:
    assert said in refusal(url)


@pytest.mark.parametrize("url", ["unix:///run/store", "redis://h/1", "redis://h?db=1"])
def test_a_cluster_has_neither_a_socket_nor_a_second_database(url: str) -> None:
    assert "a Cluster" in refusal(url, cluster=True)
    assert loaded(url).store.address == url


OPTIONS = (
    "db=3",
    "client_name=estampa-0",
    "health_check_interval=30",
    "max_connections=2",
    "socket_connect_timeout=2.5",
    "socket_keepalive=true",
    "socket_timeout=10",
)
TLS = (
    f"ssl_ca_certs={__file__}",
    "ssl_ca_path=/",
    "ssl_cert_reqs=none",
    "ssl_check_hostname=false",
    f"ssl_certfile={__file__}",
)


@pytest.mark.integration
def test_every_option_that_is_admitted_serves(store_url: str) -> None:
    base = store_url.split("?", maxsplit=1)[0].rstrip("/").removesuffix("/0")
    for options in (*OPTIONS, "&".join(OPTIONS)):
        store = RedisStore(loaded(f"{base}/?{options}").store, "encoder", 1, "g")
        store.check()
        assert store.start() is None
        store.close()


@pytest.mark.parametrize("option", TLS)
def test_every_option_of_tls_that_is_admitted_is_one_of_the_client(option: str) -> None:
    url = loaded(f"rediss://h/?{option}").store.url.get_secret_value()
    client = redis.Redis.from_url(url)
    assert isinstance(client.connection_pool.make_connection(), redis.SSLConnection)
    client.close()


# Secrets


@pytest.mark.parametrize(
    "url",
    [
        f"redis://h?password={SECRET}",
        f"redis://h?Password={SECRET}",
        f"redis://h?pass%77ord={SECRET}",
        f"redis://h?username={SECRET}",
        f"redis://h?bogus={SECRET}",
        f"redis://h?{SECRET}",
        f"redis://h?{SECRET}=",
        f"redis://user?{SECRET}@h",
        f"redis://user/{SECRET}@h",
        f"redis://user#{SECRET}@h",
        f"redis://h#{SECRET}",
        f"redis://h/{SECRET}",
        f"redis://:{SECRET}:x@h:y",
        f"redis://h?db={SECRET}",
        f"rediss://h?ssl_ca_certs={SECRET}",
        SECRET,
        f"{SECRET}://h",
    ],
)
def test_no_refusal_of_a_url_repeats_what_may_be_a_secret(url: str) -> None:
    assert SECRET not in refusal(url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"redis://{SECRET}@h:1/2", "redis://**********@h:1/2"),
        (f"redis://{SECRET}:@h:1/2", "redis://**********@h:1/2"),
        (f"redis://:{SECRET}@h:1/2", "redis://:**********@h:1/2"),
        (f"rediss://user:{SECRET}@h:6380/1?socket_timeout=3", "rediss://user:**********@h:6380/1?socket_timeout=3"),
        (f"redis://u:a@{SECRET}@h", "redis://u:**********@h"),
        (f"unix://u:{SECRET}@/run/store?db=1", "unix://u:**********@/run/store?db=1"),
        ("redis://h:1", "redis://h:1"),
    ],
)
def test_an_address_shows_all_but_what_may_be_a_password(url: str, shown: str, tmp_path: Path) -> None:
    settings = loaded(url)
    assert settings.store.address == shown
    assert settings.masked()["store"]["url"] == shown
