"""Every setting: its type, unit, default, bounds and meaning. `estampa check-config --explain` prints them."""

import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from consumer.configuration.login import check_login, password_from
from consumer.configuration.masking import shown_librdkafka, shown_url
from consumer.configuration.store_url import check_cluster, check_url
from consumer.configuration.times import time_ms
from model_zoo.checks import check_device_name

T = TypeVar("T")

PREFIX: Final = "ESTAMPA__"
STARTS: Final = ("earliest", "latest")
LONGEST_TOPIC: Final = 249
TOPIC: Final = re.compile(r"[A-Za-z0-9._-]+")


def _topic_name(name: str) -> str:
    """The name, as Kafka takes it. Raises ValueError."""
    if not TOPIC.fullmatch(name) or len(name) > LONGEST_TOPIC or name in {".", ".."}:
        raise ValueError(
            f"no topic can be called {name!r}; give 1 to {LONGEST_TOPIC} letters, digits, '.', '_' and '-'"
        )
    return name


def _each_once(values: tuple[T, ...]) -> tuple[T, ...]:
    """Without repeats, in their order: Kafka refuses a subscription that names a topic twice."""
    return tuple(dict.fromkeys(values))


TopicName = Annotated[str, AfterValidator(_topic_name)]
Topics = Annotated[tuple[TopicName, ...], AfterValidator(_each_once)]
Programs = Annotated[tuple[int, ...], AfterValidator(_each_once)]


def _in(unit: str) -> dict[str, Any]:
    """The unit of a number whose name does not end in one."""
    return {"unit": unit}


class SettingsSection(BaseModel):
    """A section of the configuration. renamed: old name of a key → its name; the old one is read for one release."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    renamed: ClassVar[Mapping[str, str]] = {}

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
    """The broker: its address, the consumer group, the topics to read, the login."""

    renamed = {"patience_s": "broker_timeout_s"}

    brokers: str = Field("localhost:9092", description="host:port, comma separated")
    group: str = Field("estampa", description="consumer group; the same at every start, or the night is read again")
    topics: Topics = Field((), description="topics by name; none for the topics of the night, ztf_YYYYMMDD_programidN")
    programids: Programs = Field(
        (1,), min_length=1, description="programs whose alerts are classified: 1 public, 2 partnership, 3 Caltech"
    )
    start: str = Field("earliest", description="earliest, latest or a UTC time; for the group's first start only")
    days_back: int = Field(1, ge=0, le=7, description="topics of the night: UTC dates before today")
    days_ahead: int = Field(1, ge=0, le=2, description="topics of the night: UTC dates after today")
    delivery: Literal["at_least_once", "exactly_once"] = Field(
        "at_least_once", description="exactly_once: results and offsets in one transaction (experimental)"
    )
    transactional_id: str | None = Field(
        None, description="exactly_once: this process's own name, the same at each start"
    )
    security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="TLS (SSL), login (SASL), both or none"
    )
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field("PLAIN", description="of the login (SASL)")
    username: str | None = Field(None, description="of the login (SASL)")
    password: SecretStr | None = Field(None, description="of the login (SASL); better in password_file")
    password_file: Path | None = Field(None, description="file that holds the password")
    ca_file: Path | None = Field(None, description="PEM file of the authority that signed the broker's certificate")
    session_timeout_ms: int = Field(45_000, ge=1_000, description="a member silent for longer has left the group")
    delivery_timeout_ms: int = Field(60_000, ge=1_000, description="publishing fails after this time")
    broker_timeout_s: float = Field(60.0, gt=0, description="stop after this time without an answer of any broker")
    librdkafka: dict[str, str | int | float | bool] = Field({}, description="further keys of librdkafka, as they are")

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

    renamed = {"patience_s": "timeout_s", "when_behind": "on_data_loss"}

    url: SecretStr = Field(
        SecretStr("redis://localhost:6379/0"), description="address: redis://, rediss:// (TLS) or unix://"
    )
    cluster: bool = Field(default=False, description="the server is a Redis Cluster")
    password: SecretStr | None = Field(None, description="instead of one in the URL")
    password_file: Path | None = Field(None, description="file that holds the password")
    dtype: Literal["float32", "float16"] = Field("float32", description="number type of stored latents")
    max_history: int = Field(
        128,
        ge=1,
        description="newest alerts of an object that are kept",
        json_schema_extra=_in("alerts"),
    )
    history_days: float = Field(365.0, gt=0, description="a sequence goes back so far from its last alert")
    expire_days: float = Field(400.0, gt=0, description="an object is deleted this long after its last alert")
    timeout_s: float = Field(30.0, gt=0, description="stop after this time without an answer of the store")
    on_data_loss: Literal["refill", "stop"] = Field(
        "refill", description="where the store holds less than Kafka has committed: read those alerts again, or stop"
    )

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
    """The checkpoint, and the device it runs on."""

    checkpoint: str = Field("estampa-serve", description="a folder, or a name of `estampa models list`")
    public_key: str | None = Field(None, description="minisign public key; the checkpoint must be signed by its owner")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    threads: int = Field(0, ge=0, description="CPU threads; 0 for all cores but the one that decodes")

    _device = field_validator("device")(check_device_name)


class BatchSettings(SettingsSection):
    """Batches of messages."""

    size: int = Field(512, ge=1, le=16_384, description="largest batch", json_schema_extra=_in("messages"))
    wait_ms: int = Field(10, ge=1, le=60_000, description="a batch that is not full is classified after this time")


class OutputSettings(SettingsSection):
    """Records and files that are written."""

    renamed = {
        "shape": "record_format",
        "framing": "avro_encoding",
        "part_s": "checkpoint_s",
        "part_messages": "checkpoint_messages",
    }

    topic: TopicName = Field("estampa.classifications", description="topic of classifications")
    dead_letter_topic: TopicName = Field("estampa.deadletters", description="topic of dead letters")
    record_format: Literal["estampa", "alerce"] = Field("estampa", description="fields of a classification")
    avro_encoding: Literal["container", "schemaless"] = Field(
        "container", description="container: each message carries its schema"
    )
    checkpoint_messages: int = Field(
        5_000, ge=1, description="a replay can resume from every so many", json_schema_extra=_in("messages")
    )
    checkpoint_s: float = Field(10.0, gt=0, description="or from each time that so long has passed")


class LimitSettings(SettingsSection):
    """Bounds on what comes from outside."""

    renamed = {"recent_candids": "duplicate_window"}

    packet_bytes: int = Field(16 * 2**20, ge=1, description="largest message that is decoded")
    block_bytes: int = Field(256 * 2**20, ge=2**16, description="largest sum of an Avro container's blocks, inflated")
    packet_records: int = Field(
        1_000, ge=1, description="most alerts in a message, or a container", json_schema_extra=_in("alerts")
    )
    stamp_bytes: int = Field(2**20, ge=2_880, description="largest stamp, inflated")
    dead_letter_ratio: float = Field(
        0.5, gt=0, le=1, description="stop past this share of dead letters in 1,000 alerts"
    )
    dead_letter_run: int = Field(
        200,
        ge=1,
        description="stop when so many alerts in a row are dead letters; half as many end the message they are in",
        json_schema_extra=_in("alerts"),
    )
    duplicate_window: int = Field(
        1_000_000, ge=0, description="alerts among which a repeated candid is dropped", json_schema_extra=_in("alerts")
    )


class MonitorSettings(SettingsSection):
    """HTTP: /metrics, /healthz and /readyz."""

    renamed = {"stalled_s": "liveness_timeout_s"}

    host: str = Field("127.0.0.1", description="address to listen at")
    port: int = Field(9108, ge=0, le=65_535, description="port to listen at; 0 for any free one")
    enabled: bool = Field(default=True, description="whether to listen")
    liveness_timeout_s: float = Field(60.0, gt=0, description="/healthz fails after this time without progress")


class LogSettings(SettingsSection):
    """The log, on stderr."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="least severe event that is logged")
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

    @model_validator(mode="after")
    def _topics_apart(self) -> Self:
        """A consumer that reads what it publishes would never end."""
        for name, topic in (("topic", self.output.topic), ("dead_letter_topic", self.output.dead_letter_topic)):
            if topic in self.kafka.topics:
                raise ValueError(f"output.{name} is {topic!r}, which kafka.topics reads; give another")
        if self.output.topic == self.output.dead_letter_topic:
            raise ValueError(f"output.topic and output.dead_letter_topic are both {self.output.topic!r}; give another")
        return self

    def masked(self) -> dict[str, Any]:
        """All values as plain JSON types; what is not known to be harmless is hidden."""
        values = self.model_dump(mode="json")
        values["store"]["url"] = self.store.address
        values["kafka"]["librdkafka"] = shown_librdkafka(values["kafka"]["librdkafka"])
        return values
