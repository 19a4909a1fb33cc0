"""Who we are to the broker: a login that is used is whole, and the files that are named are there."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from pydantic import SecretStr

from consumer.errors import ConfigError
from model_zoo.checks import read_text

OTHER_LOGINS: Final = ("GSSAPI", "OAUTHBEARER")
"""Mechanisms without user and password, for who sets them under kafka.librdkafka."""

CERTIFICATES: Final = ("ssl.certificate.location", "ssl.certificate.pem")
KEYS: Final = ("ssl.key.location", "ssl.key.pem")
FILES: Final = ("ssl.ca.location", "ssl.crl.location", "ssl.keystore.location", CERTIFICATES[0], KEYS[0])
PROBE: Final = "probe"
"""As ssl.ca.location: look for the authorities of the machine."""


class Login(Protocol):
    """The part of `KafkaSettings` that is looked at here."""

    @property
    def security(self) -> str: ...
    @property
    def username(self) -> str | None: ...
    @property
    def password(self) -> SecretStr | None: ...
    @property
    def ca_file(self) -> Path | None: ...
    @property
    def librdkafka(self) -> Mapping[str, str | int | float | bool]: ...
    @property
    def model_fields_set(self) -> set[str]: ...


def check_login(kafka: Login) -> None:
    """Raise ValueError naming the key that the security asked for needs, or that it does not use."""
    security = str(kafka.librdkafka.get("security.protocol", kafka.security)).upper()
    if security.startswith("SASL"):
        _check_credentials(kafka, security)
    elif "mechanism" in kafka.model_fields_set:
        raise ValueError(f"mechanism is given, and security is {security}; set security to SASL_SSL or SASL_PLAINTEXT")
    key = next((key for key in KEYS if key in kafka.librdkafka), None)
    if key and security.endswith("SSL") and not kafka.librdkafka.keys() & set(CERTIFICATES):
        raise ValueError(f"librdkafka has {key} without a certificate; give {CERTIFICATES[0]} too")


def _check_credentials(kafka: Login, security: str) -> None:
    raw = kafka.librdkafka
    if str(raw.get("sasl.mechanism", raw.get("sasl.mechanisms", ""))).upper() in OTHER_LOGINS:
        return
    if kafka.username is None and "sasl.username" not in raw:
        raise ValueError(f"username is missing, and security is {security}; set kafka.username")
    if kafka.password is None and "sasl.password" not in raw:
        raise ValueError(f"password is missing, and security is {security}; set kafka.password or kafka.password_file")


def unused(kafka: Login) -> list[str]:
    """Keys of a login that is given and, by the security asked for, sent to no one."""
    security = str(kafka.librdkafka.get("security.protocol", kafka.security)).upper()
    return [] if security.startswith("SASL") else sorted(kafka.model_fields_set & {"username", "password"})


def check_files(kafka: Login) -> None:
    """Raise ConfigError naming the key whose file does not exist."""
    if kafka.ca_file is not None and not kafka.ca_file.is_file():
        raise ConfigError(f"kafka.ca_file: {kafka.ca_file} is not a file that exists; give the PEM file")
    for key in FILES:
        path = kafka.librdkafka.get(key)
        if path not in {None, PROBE} and not Path(str(path)).exists():
            raise ConfigError(f"kafka.librdkafka.{key}: {path} does not exist; give the path of a file")


def password_from(path: Path) -> str:
    """The password that a file holds. Raises ValueError, without `path` where it is no file: it may be the password."""
    try:
        password = read_text(path).strip()
    except OSError as error:
        raise ValueError(f"password_file cannot be read: {error.strerror}") from error
    if not password:
        raise ValueError(f"password_file {path} is empty; write the password into it")
    return password
