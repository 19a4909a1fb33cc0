"""The one configuration: a TOML file, under `ESTAMPA__SECTION__KEY` from the environment, under the command line."""

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from consumer.errors import ConfigError
from consumer.names import Programs, TopicName, Topics

PREFIX: Final = "ESTAMPA__"
SECRET: Final = ("password", "secret", "url", "pem")
"""A key with one of these in its name has a value that is not shown."""


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _with_password_file(values: Any) -> Any:
    """A section's raw values, its `password` read from `password_file` where only that is given."""
    if not isinstance(values, dict) or not values.get("password_file") or values.get("password"):
        return values
    try:
        return values | {"password": Path(values["password_file"]).read_text(encoding="utf-8").strip()}
    except OSError as error:
        raise ValueError(f"password_file cannot be read: {error.strerror}") from error


def time_ms(text: str) -> int:
    """An ISO time, of UTC unless it names a zone, in milliseconds since 1970. Raises ValueError."""
    time = datetime.fromisoformat(text)
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)


class KafkaSettings(Section):
    """The broker, and who we are to it."""

    brokers: str = Field("localhost:9092", description="host:port, comma separated")
    group: str = Field("estampa", description="consumer group; the same one at every start, or the night is read again")
    topics: Topics = Field((), description="literal names; empty for the topics of the night")
    programids: Programs = Field(
        (1,), min_length=1, description="programs admitted: 1 public, 2 partnership, 3 Caltech"
    )
    start: str = Field("earliest", description="earliest, latest or a UTC time; for the group's first start only")
    days_back: int = Field(1, ge=0, le=7, description="topics of the night: how many days before today")
    days_ahead: int = Field(1, ge=0, le=2, description="topics of the night: how many days after today")
    delivery: Literal["at_least_once", "exactly_once"] = Field(
        "at_least_once", description="exactly_once: results and offsets in one transaction; experimental"
    )
    transactional_id: str | None = Field(
        None, description="exactly_once: this process's own name, the same at each start"
    )
    security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    username: str | None = None
    password: SecretStr | None = None
    password_file: Path | None = Field(None, description="read the password from this file")
    ca_file: Path | None = Field(None, description="PEM file of the authority that signed the broker's certificate")
    session_timeout_ms: int = Field(45_000, ge=1_000, description="a member silent for so long has left the group")
    delivery_timeout_ms: int = Field(60_000, ge=1_000, description="publishing fails after so long without the broker")
    patience_s: float = Field(60.0, gt=0, description="stop when no broker answers for so long")
    librdkafka: dict[str, str | int | float | bool] = Field({}, description="any other librdkafka key, passed as is")

    _password = model_validator(mode="before")(_with_password_file)

    @model_validator(mode="after")
    def _named(self) -> Self:
        """A process that comes back under its name ends the transaction that its end left open; readers wait for it."""
        if self.delivery == "exactly_once" and not self.transactional_id:
            raise ValueError(
                "delivery exactly_once needs transactional_id: this process's own name, the same at each start"
            )
        return self

    @field_validator("start")
    @classmethod
    def _start(cls, value: str) -> str:
        try:
            _ = value in {"earliest", "latest"} or time_ms(value)
        except ValueError:
            raise ValueError("give earliest, latest or a UTC time such as 2026-01-31T04:00") from None
        return value

    @property
    def start_ms(self) -> int | None:
        """`start` as a time, in the milliseconds since 1970 that Kafka wants; None for earliest and latest."""
        return None if self.start in {"earliest", "latest"} else time_ms(self.start)


class StoreSettings(Section):
    """The Redis-protocol server that keeps each object's sequence."""

    url: SecretStr = Field(SecretStr("redis://localhost:6379/0"), description="redis://, rediss:// (TLS) or unix://")
    cluster: bool = Field(default=False, description="the server is a Redis Cluster")
    password: SecretStr | None = Field(None, description="instead of one in the URL")
    password_file: Path | None = Field(None, description="read the password from this file")
    dtype: Literal["float32", "float16"] = Field("float32", description="of stored latents")
    max_history: int = Field(128, ge=1, description="newest alerts of an object that are kept and used")
    history_days: float = Field(365.0, gt=0, description="alerts older than this before the judged one do not count")
    expire_days: float = Field(400.0, gt=0, description="an object not seen for so long is forgotten")
    patience_s: float = Field(30.0, gt=0, description="stop when the store does not answer for so long")
    when_behind: Literal["refill", "stop"] = Field("refill", description="when the store lost what Kafka committed")

    _password = model_validator(mode="before")(_with_password_file)

    @field_validator("url")
    @classmethod
    def _known_scheme(cls, value: SecretStr) -> SecretStr:
        """Errors here must not repeat the URL: it may hold the password."""
        parts = urlsplit(value.get_secret_value())
        if parts.scheme not in {"redis", "rediss", "unix"}:
            raise ValueError("does not start with redis://, rediss:// or unix://")
        if "password=" in parts.query:
            raise ValueError("give the password before the host, or as store.password")
        try:
            _ = parts.port
        except ValueError:
            raise ValueError("has no number for a port; percent-encode a password's /, # and ?") from None
        return value

    @property
    def address(self) -> str:
        """The URL without its password, to show."""
        url = self.url.get_secret_value()
        password = urlsplit(url).password
        return url.replace(f":{password}@", ":**********@") if password else url

    @model_validator(mode="after")
    def _kept_long_enough(self) -> Self:
        if self.expire_days < self.history_days:
            raise ValueError(f"expire_days ({self.expire_days}) is shorter than history_days ({self.history_days})")
        return self


class ModelSettings(Section):
    """Which checkpoint runs, and where."""

    checkpoint: str = Field("estampa-serve", description="a folder, or the name of one under model_zoo/weights")
    public_key: str | None = Field(None, description="minisign's: the checkpoint must be signed by its owner")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N; a GPU asked for and missing is an error")
    threads: int = Field(0, ge=0, description="CPU threads of the model; 0 for all cores but the one that decodes")


class BatchSettings(Section):
    """How many alerts go through the loop at once."""

    size: int = Field(512, ge=1, le=16_384, description="messages at the most")
    wait_ms: int = Field(10, ge=1, le=60_000, description="a batch that is not full leaves after so long")


class OutputSettings(Section):
    """What is published, and where to."""

    topic: TopicName = "estampa.classifications"
    dead_letter_topic: TopicName = "estampa.deadletters"
    shape: Literal["estampa", "alerce"] = "estampa"
    framing: Literal["container", "schemaless"] = Field("container", description="container: Avro with its schema")
    part_messages: int = Field(5_000, ge=1, description="a replay's files are safe from a kill after so many")
    part_s: float = Field(10.0, gt=0, description="or after so long")


class LimitSettings(Section):
    """Bounds on what comes from outside."""

    packet_bytes: int = Field(16 * 2**20, ge=1)
    block_bytes: int = Field(256 * 2**20, ge=2**16, description="of one block of an Avro container, inflated")
    stamp_bytes: int = Field(2**20, ge=2_880, description="of one stamp, inflated")
    dead_letter_ratio: float = Field(0.5, gt=0, le=1, description="stop when more of the last 1,000 alerts are bad")
    dead_letter_run: int = Field(200, ge=1, description="stop when so many alerts in a row are bad")
    recent_candids: int = Field(1_000_000, ge=0, description="remembered within a run, to drop repeats")


class MonitorSettings(Section):
    """Where /metrics, /healthz and /readyz are served."""

    host: str = "127.0.0.1"
    port: int = Field(9108, ge=0, le=65_535, description="0 for any free port")
    enabled: bool = True
    stalled_s: float = Field(60.0, gt=0, description="/healthz fails when the loop has not moved for so long")


class LogSettings(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "text"] = Field("auto", description="auto: text on a terminal, JSON elsewhere")


class Settings(BaseSettings):
    """Everything that can be set. Secrets come from the environment or the file, and are never printed."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
        extra="forbid",
        frozen=True,
    )

    kafka: KafkaSettings = KafkaSettings()
    store: StoreSettings = StoreSettings()
    model: ModelSettings = ModelSettings()
    batch: BatchSettings = BatchSettings()
    output: OutputSettings = OutputSettings()
    limits: LimitSettings = LimitSettings()
    monitor: MonitorSettings = MonitorSettings()
    log: LogSettings = LogSettings()

    def masked(self) -> dict[str, Any]:
        """All values as plain JSON types, with every secret hidden."""
        values = self.model_dump(mode="json")
        values["store"]["url"] = self.store.address
        extra = values["kafka"]["librdkafka"]
        secret = {key: "**********" for key in extra if any(word in key for word in SECRET)}
        extra.update(secret)
        return values


def load_settings(path: Path | None = None, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> Settings:
    """Read `path`, the environment and `overrides` (section → key → value), later ones over earlier ones.

    Raises ConfigError naming the key, its value and, for an unknown key, the nearest known one.
    """
    if path is not None and not path.is_file():
        raise ConfigError(f"configuration {path} does not exist; give a TOML file")
    _check_environment(os.environ)

    class Layered(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base class's signature
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, path)

    try:
        layered = Layered(**dict(overrides or {}))  # type: ignore[arg-type]
    except ValidationError as error:
        raise ConfigError("; ".join(_explained(one) for one in error.errors())) from error
    except (SettingsError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"configuration cannot be read: {error} (lists and tables are JSON in the environment)"
        ) from error
    return Settings.model_construct(layered.model_fields_set, **dict(layered))


def _check_environment(environment: Iterable[str]) -> None:
    """A misspelt section is silently no one's; say so instead."""
    for name in environment:
        section = name.removeprefix(PREFIX).split("__")[0].lower()
        if name.startswith(PREFIX) and section not in Settings.model_fields:
            raise ConfigError(f"environment variable {name} sets nothing: {_nearest(section, Settings.model_fields)}")


def _explained(error: Any) -> str:
    place = [str(part) for part in error["loc"]]
    key = ".".join(place)
    if error["type"] != "extra_forbidden":
        plain = isinstance(error["input"], str | int | float) and not any(word in key for word in SECRET)
        shown = f" (it is {error['input']!r})" if plain else ""
        return f"{key}: {error['msg']}{shown}"
    section = Settings.model_fields[place[0]].annotation if len(place) > 1 else Settings
    known = getattr(section, "model_fields", {})
    return f"{key} is not a setting: {_nearest(place[-1], known)}"


def _nearest(name: str, known: Iterable[str]) -> str:
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(names)}"
