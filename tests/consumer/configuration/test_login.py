"""A login to the broker: what is used is whole, and its files are there."""

from pathlib import Path
from typing import Any

import pytest

from consumer.configuration.load import load_settings
from consumer.configuration.login import unused
from consumer.errors import ConfigError

SECRET = "hunter2"


def refusal(**kafka: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings(None, {"kafka": kafka})
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("security", ["SASL_SSL", "SASL_PLAINTEXT"])
@pytest.mark.parametrize(
    ("login", "said"),
    [
        ({}, "username is missing, and security is {}; set kafka.username"),
        ({"password": SECRET}, "username is missing, and security is {}; set kafka.username"),
        (
            {"username": "me"},
            "password is missing, and security is {}; set kafka.password or kafka.password_file",
        ),
        (
            {"username": "me", "librdkafka": {"client.id": "x"}},
            "password is missing, and security is {}; set kafka.password or kafka.password_file",
        ),
        ({"mechanism": "SCRAM-SHA-256", "password": SECRET}, "username is missing"),
    ],
)
def test_a_login_that_is_used_and_not_whole_is_refused_by_its_key(
    security: str, login: dict[str, Any], said: str
) -> None:
    assert said.format(security) in refusal(security=security, **login)


def test_a_security_given_to_librdkafka_is_the_one_that_is_used() -> None:
    assert "username is missing" in refusal(librdkafka={"security.protocol": "sasl_ssl"})


@pytest.mark.parametrize(
    "login",
    [
        {"username": "me", "password": SECRET},
        {"librdkafka": {"sasl.username": "me", "sasl.password": SECRET}},
        {"username": "me", "librdkafka": {"sasl.password": SECRET}},
        {"librdkafka": {"sasl.mechanism": "OAUTHBEARER"}},
        {"librdkafka": {"sasl.mechanisms": "GSSAPI"}},
    ],
)
def test_a_login_that_is_whole_is_taken(login: dict[str, Any]) -> None:
    assert load_settings(None, {"kafka": {"security": "SASL_SSL", **login}}).kafka.security == "SASL_SSL"


def test_a_mechanism_without_a_security_that_uses_it_is_refused() -> None:
    line = refusal(mechanism="SCRAM-SHA-256", security="SSL")
    assert "mechanism is given, and security is SSL; set security to SASL_SSL or SASL_PLAINTEXT" in line


@pytest.mark.parametrize(
    ("kafka", "keys"),
    [
        ({"username": "me", "password": SECRET}, ["password", "username"]),
        ({"username": "me", "password": SECRET, "security": "SASL_SSL"}, []),
        ({}, []),
    ],
)
def test_a_login_that_is_sent_to_no_one_is_named(kafka: dict[str, Any], keys: list[str]) -> None:
    assert unused(load_settings(None, {"kafka": kafka}).kafka) == keys


@pytest.mark.parametrize("key", ["ssl.key.location", "ssl.key.pem"])
@pytest.mark.parametrize("security", ["SSL", "SASL_SSL"])
def test_a_key_of_tls_without_its_certificate_is_refused(key: str, security: str) -> None:
    given = {"security": security, "username": "me", "password": "x"}
    line = refusal(**given, librdkafka={key: __file__})
    assert f"librdkafka has {key} without a certificate; give ssl.certificate.location too" in line
    whole = {key: __file__, "ssl.certificate.location": __file__}
    assert load_settings(None, {"kafka": {**given, "librdkafka": whole}}).kafka.librdkafka == whole


@pytest.mark.parametrize(
    "key",
    ["ssl.ca.location", "ssl.certificate.location", "ssl.key.location", "ssl.crl.location", "ssl.keystore.location"],
)
def test_a_file_of_tls_that_does_not_exist_is_named_with_its_key(key: str) -> None:
    assert refusal(librdkafka={key: "/no/where"}).startswith(f"kafka.librdkafka.{key}: /no/where does not exist")


def test_an_authority_that_does_not_exist_is_named_with_its_key(tmp_path: Path) -> None:
    assert refusal(ca_file="/no/ca.pem").startswith("kafka.ca_file: /no/ca.pem is not a file that exists")
    assert refusal(ca_file=str(tmp_path)).startswith(f"kafka.ca_file: {tmp_path} is not a file")
    assert load_settings(None, {"kafka": {"librdkafka": {"ssl.ca.location": "probe"}}})


def test_a_password_file_that_does_not_exist_is_told_by_its_key_alone() -> None:
    assert "password_file cannot be read: No such file or directory" in refusal(password_file=SECRET)
