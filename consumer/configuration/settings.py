"""The one configuration: a TOML file, under `ESTAMPA__SECTION__KEY` from the environment, under the command line."""

import os
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, Final, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from consumer.configuration.environment import PREFIX, check_environment, nearest
from consumer.configuration.login import check_files, check_login, password_from
from consumer.configuration.masking import HARMLESS, shown_librdkafka, shown_url
from consumer.configuration.store_url import check_cluster, check_url
from consumer.configuration.times import time_ms
from consumer.configuration.toml_file import read_toml
from consumer.errors import ConfigError
from consumer.names import Programs, TopicName, Topics
from model_zoo.device import check_device_name

STARTS: Final = ("earliest", "latest")


class SettingsSection(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _is_given(cls, value: Any) -> Any:
        """A variable that a shell does not know is an empty text: to take the default would hide that."""
        for text in value if isinstance(value, list | tuple) else [value]:
            if isinstance(text, str) and not text.strip():
                raise ValueError("is empty; give a value, or leave it out for the default")
        return value


def _with_password_file(values: Any) -> Any:
    """A section's raw values, its `password` read from `password_file` where only that is given."""
    if not isinstance(values, dict) or not values.get("password_file") or values.get("password") is not None:
        return values
    return values | {"password": password_from(Path(values["password_file"]))}


class KafkaSettings(SettingsSection):
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

    @field_validator("brokers")
    @classmethod
    def _brokers(cls, value: str) -> str:
        """What stands before an @ may be a login, which is never used and would be shown."""
        if "@" in value:
            raise ValueError("give host:port, comma separated; a login goes into kafka.username and kafka.password")
        return value

    @model_validator(mode="after")
    def _login(self) -> Self:
        check_login(self)
        return self

    @field_validator("start", mode="before")
    @classmethod
    def _start_text(cls, value: Any) -> str:
        """TOML has times of its own, and numbers."""
        return value.isoformat() if isinstance(value, date) else str(value)

    @field_validator("start")
    @classmethod
    def _start(cls, value: str) -> str:
        try:
            _ = value in STARTS or time_ms(value)
        except ValueError as error:
            raise ValueError(f"give earliest, latest or a UTC time such as 2026-01-31T04:00: {error}") from None
        return value

    @property
    def start_ms(self) -> int | None:
        """`start` as a time, in the milliseconds since 1970 that Kafka wants; None for earliest and latest."""
        return None if self.start in STARTS else time_ms(self.start)


class StoreSettings(SettingsSection):
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
    def _url(cls, value: SecretStr) -> SecretStr:
        check_url(value.get_secret_value())
        return value

    @model_validator(mode="after")
    def _cluster(self) -> Self:
        if self.cluster:
            check_cluster(self.url.get_secret_value())
        return self

    @property
    def address(self) -> str:
        """The URL, its login hidden, to show."""
        return shown_url(self.url.get_secret_value())

    @model_validator(mode="after")
    def _kept_long_enough(self) -> Self:
        if self.expire_days < self.history_days:
            raise ValueError(f"expire_days ({self.expire_days}) is shorter than history_days ({self.history_days})")
        return self


class ModelSettings(SettingsSection):
    """Which checkpoint runs, and where."""

    checkpoint: str = Field("estampa-serve", description="a folder, or the name of one under model_zoo/weights")
    public_key: str | None = Field(None, description="minisign's: the checkpoint must be signed by its owner")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N; a GPU asked for and missing is an error")
    threads: int = Field(0, ge=0, description="CPU threads of the model; 0 for all cores but the one that decodes")

    _device = field_validator("device")(check_device_name)


class BatchSettings(SettingsSection):
    """How many alerts go through the loop at once."""

    size: int = Field(512, ge=1, le=16_384, description="messages at the most")
    wait_ms: int = Field(10, ge=1, le=60_000, description="a batch that is not full leaves after so long")


class OutputSettings(SettingsSection):
    """What is published, and where to."""

    topic: TopicName = "estampa.classifications"
    dead_letter_topic: TopicName = "estampa.deadletters"
    shape: Literal["estampa", "alerce"] = "estampa"
    framing: Literal["container", "schemaless"] = Field("container", description="container: Avro with its schema")
    part_messages: int = Field(5_000, ge=1, description="a replay's files are safe from a kill after so many")
    part_s: float = Field(10.0, gt=0, description="or after so long")


class LimitSettings(SettingsSection):
    """Bounds on what comes from outside."""

    packet_bytes: int = Field(16 * 2**20, ge=1)
    block_bytes: int = Field(256 * 2**20, ge=2**16, description="of an Avro container's blocks, inflated")
    packet_records: int = Field(1_000, ge=1, description="alerts in one message, or one block of an archive")
    stamp_bytes: int = Field(2**20, ge=2_880, description="of one stamp, inflated")
    dead_letter_ratio: float = Field(0.5, gt=0, le=1, description="stop when more of the last 1,000 alerts are bad")
    dead_letter_run: int = Field(
        200, ge=1, description="stop when so many alerts in a row are bad; half as many end the message they are in"
    )
    recent_candids: int = Field(1_000_000, ge=0, description="remembered within a run, to drop repeats")


class MonitorSettings(SettingsSection):
    """Where /metrics, /healthz and /readyz are served."""

    host: str = "127.0.0.1"
    port: int = Field(9108, ge=0, le=65_535, description="0 for any free port")
    enabled: bool = True
    stalled_s: float = Field(60.0, gt=0, description="/healthz fails when the loop has not moved for so long")


class LogSettings(SettingsSection):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "text"] = Field("auto", description="auto: text on a terminal, JSON elsewhere")


class Settings(BaseSettings):
    """Everything that can be set. Secrets come from the environment or the file, and are never printed."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
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
        """All values as plain JSON types; what is not known to be harmless is hidden."""
        values = self.model_dump(mode="json")
        values["store"]["url"] = self.store.address
        values["kafka"]["librdkafka"] = shown_librdkafka(values["kafka"]["librdkafka"])
        return values


def load_settings(path: Path | None = None, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> Settings:
    """Read `path`, the environment and `overrides` (section → key → value), later ones over earlier ones.

    Raises ConfigError naming the key, its value and, for an unknown key, the nearest known one.
    """
    check_environment(os.environ, {name: _section(name).model_fields for name in Settings.model_fields})
    from_file = read_toml(path) if path is not None else {}

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
            return init_settings, env_settings, InitSettingsSource(settings_cls, from_file)

    try:
        layered = Layered(**dict(overrides or {}))  # type: ignore[arg-type]
    except ValidationError as error:
        raise ConfigError("; ".join(_explained(one) for one in error.errors())) from error
    except SettingsError as error:
        raise ConfigError(f"{error} (sections, lists and tables are JSON in the environment)") from error
    settings = Settings.model_construct(layered.model_fields_set, **dict(layered))
    check_files(settings.kafka)
    return settings


def _section(name: str) -> Any:
    """The model of a section."""
    return Settings.model_fields[name].annotation


def _explained(error: Any) -> str:
    """One line. A value is repeated where its key is known, and no secret; our own errors say what may be said."""
    place = [str(part) for part in error["loc"]]
    key = ".".join(place)
    if error["type"] == "extra_forbidden":
        known = _section(place[0]).model_fields if len(place) > 1 else Settings.model_fields
        return f"{key} is not a setting: {nearest(place[-1], known)}"
    plain = isinstance(error["input"], str | int | float) and error["type"] != "value_error" and _is_harmless(place)
    shown = f" (it is {error['input']!r})" if plain else ""
    return f"{key}: {error['msg']}{shown}"


def _is_harmless(place: list[str]) -> bool:
    """Whether the value of this key may be shown. A path may be a password that was put into the wrong place."""
    section, key, *deeper = [*place, ""]
    if key == "librdkafka":
        return deeper[0] in HARMLESS
    field = _section(section).model_fields.get(key)
    return field is not None and not {SecretStr, Path} & {field.annotation, *get_args(field.annotation)}
