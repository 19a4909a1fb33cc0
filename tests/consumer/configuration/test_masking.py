"""Secrets: what is shown is what is known to be harmless, in settings that are printed and in errors."""

from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from consumer.configuration.load import load_settings
from consumer.configuration.masking import HARMLESS, HIDDEN, shown_librdkafka
from consumer.errors import ConfigError

SECRET = "hunter2"


@pytest.mark.parametrize(
    "key",
    [
        "sasl.password",
        "Sasl.Password",
        "SASL.PASSWORD",
        "sasl.passwort",
        "ssl.key",
        "ssl.key.pem",
        "ssl.key.password",
        "ssl.keystore.password",
        "ssl.certificate.pem",
        "ssl_key",
        "sasl.oauthbearer.config",
        "sasl.oauthbearer.client.secret",
        "sasl.oauthbearer.token.endpoint.url",
        "sasl.kerberos.kinit.cmd",
        "bootstrap.servers",
        "Client.Id",
        "anything.else",
    ],
)
def test_a_key_that_is_not_known_to_be_harmless_is_shown_without_its_value(key: str) -> None:
    settings = load_settings(None, {"kafka": {"librdkafka": {key: SECRET, "client.id": "shown"}}})
    assert settings.masked()["kafka"]["librdkafka"] == {key: HIDDEN, "client.id": "shown"}
    assert SECRET not in str(settings.masked())


def test_a_number_may_be_a_password_too() -> None:
    assert shown_librdkafka({"sasl.password": 12345, "linger.ms": 5}) == {"sasl.password": HIDDEN, "linger.ms": 5}


def test_no_key_that_shows_its_value_has_the_name_of_a_secret() -> None:
    words = ("password", "secret", "pem", "token", "config", "url", "cmd")
    assert [key for key in HARMLESS if any(word in key for word in words)] == []


@pytest.mark.parametrize("key", ["client.id", "linger.ms", "ssl.ca.location", "group.id"])
def test_harmless_keys_are_librdkafkas(key: str) -> None:
    assert key in HARMLESS
    Producer({key: "1"} if key != "ssl.ca.location" else {key: "probe"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KAFKA", f'{{"password": "{SECRET}"'),
        ("KAFKA", f'"{SECRET}"'),
        ("KAFKA", f'["{SECRET}"]'),
        ("KAFKA", SECRET),
        ("KAFKA", f'{{"pasword": "{SECRET}"}}'),
        ("KAFKA", f'{{"password": ["{SECRET}"]}}'),
        ("KAFKA", f'{{"password": {{"x": "{SECRET}"}}}}'),
        ("KAFKA__LIBRDKAFKA", f'{{"sasl.password": ["{SECRET}"]}}'),
        ("KAFKA__LIBRDKAFKA", f'{{"Sasl.Password": ["{SECRET}"]}}'),
        ("KAFKA__LIBRDKAFKA", f'"{SECRET}"'),
        ("KAFKA__BROKERS", f"me:{SECRET}@host:9092"),
        ("KAFKA__PASSWORD_FILE", f"/{SECRET}"),
        ("STORE", f'"redis://:{SECRET}@h"'),
        ("STORE__URL", f"redis://{SECRET}@h:x"),
        ("MODEL", f'"{SECRET}"'),
    ],
)
def test_no_error_about_the_environment_repeats_a_secret(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"ESTAMPA__{name}", value)
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"batch": {"size": 0}}, "(it is 0)"),
        ({"kafka": {"security": "TLS"}}, "(it is 'TLS')"),
        ({"kafka": {"days_back": "many"}}, "(it is 'many')"),
    ],
)
def test_an_error_repeats_the_value_of_a_key_that_holds_no_secret(overrides: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(None, overrides)
    assert said in str(caught.value)


def test_a_password_is_shown_neither_in_settings_nor_in_their_repr(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text(SECRET)
    login = {"security": "SASL_SSL", "username": "me", "password_file": secret}
    settings = load_settings(None, {"kafka": login, "store": {"url": f"redis://{SECRET}@h"}})
    assert SECRET not in str(settings.masked()) + repr(settings)
    assert settings.masked()["kafka"]["password_file"] == str(secret)
