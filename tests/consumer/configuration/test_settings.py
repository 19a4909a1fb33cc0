import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from structlog.testing import capture_logs

from consumer.configuration.load import load_settings
from consumer.configuration.settings import Settings
from consumer.errors import ConfigError
from consumer.kafka.client import client_config, make_client


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.upper().startswith("ESTAMPA__"):
            monkeypatch.delenv(name)


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    return tmp_path / "estampa.toml"


def refusal(path: Path | None = None, overrides: Any = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings(path, overrides)
    return str(caught.value)


def test_without_anything_said_all_has_a_default() -> None:
    settings = load_settings()
    assert settings.kafka.programids == (1,), "public alerts only"
    assert settings.kafka.start == "earliest"
    assert settings.store.max_history == 128
    assert settings.model.device == "auto"


def test_the_environment_goes_over_the_file_and_the_command_line_over_both(
    toml: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toml.write_text('[batch]\nsize = 7\nwait_ms = 8\n[kafka]\ngroup = "file"\n')
    monkeypatch.setenv("ESTAMPA__BATCH__WAIT_MS", "9")
    monkeypatch.setenv("ESTAMPA__KAFKA__GROUP", "environment")
    settings = load_settings(toml, {"kafka": {"group": "line"}})
    assert (settings.batch.size, settings.batch.wait_ms, settings.kafka.group) == (7, 9, "line")
    assert settings.kafka.brokers == "localhost:9092", "the rest of a section keeps its defaults"


@pytest.mark.parametrize(("word", "meant"), [("False", False), ("false", False), ("0", False), ("True", True)])
def test_the_word_false_in_the_environment_is_false(monkeypatch: pytest.MonkeyPatch, word: str, meant: bool) -> None:
    monkeypatch.setenv("ESTAMPA__MONITOR__ENABLED", word)
    assert load_settings().monitor.enabled is meant


def test_a_word_that_is_neither_true_nor_false_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESTAMPA__MONITOR__ENABLED", "maybe")
    assert "monitor.enabled" in refusal()


def test_lists_come_from_the_environment_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESTAMPA__KAFKA__TOPICS", '["a", "b"]')
    assert load_settings().kafka.topics == ("a", "b")
    monkeypatch.setenv("ESTAMPA__KAFKA__TOPICS", "a,b")
    assert "are JSON in the environment" in refusal()


def test_settings_cannot_be_changed_once_read() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().batch.size = 3


# What is refused


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[kafka]\nbrokrs = "x"', "kafka.brokrs is not a setting: did you mean 'brokers'?"),
        ('[kafak]\nbrokers = "x"', "kafak is not a setting: did you mean 'kafka'?"),
        ("zzz = 1", "zzz is not a setting: known are kafka, store"),
        ("[batch]\nsize = 0", "batch.size: Input should be greater than or equal to 1 (it is 0)"),
        ('[batch]\nsize = "many"', "batch.size"),
        ('[kafka]\nsecurity = "TLS"', "'SASL_SSL' (it is 'TLS')"),
        ('[kafka]\nstart = "yesterday"', "give earliest, latest or a UTC time such as 2026-01-31T04:00"),
        ("[kafka]\nprogramids = []", "kafka.programids"),
        ('[kafka]\ntopics = "one"', "kafka.topics"),
        ("[store]\nexpire_days = 10", "expire_days (10.0) is shorter than history_days (365.0)"),
        ('[store]\nurl = "localhost:6379"', "store.url: Value error, does not start with redis://, rediss://"),
        ('[store]\nurl = "http://h"', "does not start with redis://"),
        ('[store]\nurl = "redis://h:port"', "store.url: Value error, has no number for a port"),
        ('[store]\nurl = "redis://h?password=x"', "give the password before the host, or as store.password"),
        ("[kafka", "configuration cannot be read"),
    ],
)
def test_a_setting_that_is_wrong_is_one_line_with_key_value_and_mend(toml: Path, text: str, said: str) -> None:
    toml.write_text(text)
    line = refusal(toml)
    assert said in line
    assert "\n" not in line


def test_two_faults_are_told_at_once(toml: Path) -> None:
    toml.write_text("[batch]\nsize = 0\nwait = 5\n")
    line = refusal(toml)
    assert "batch.size" in line
    assert "batch.wait is not a setting: did you mean 'wait_ms'?" in line


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ESTAMPA__KAFAK__BROKERS", "ESTAMPA__KAFAK__BROKERS sets nothing: did you mean 'kafka'?"),
        ("ESTAMPA__KAFKA__BROKRS", "kafka.brokrs is not a setting: did you mean 'brokers'?"),
        ("ESTAMPA__KAFKA_BROKERS", "sets nothing"),
    ],
)
def test_a_misspelt_environment_variable_is_told_with_the_nearest(
    monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    monkeypatch.setenv(name, "x")
    assert said in refusal()


def test_a_configuration_that_does_not_exist_is_told_by_its_path(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.toml") == f"configuration {tmp_path / 'none.toml'} does not exist; give a TOML file"


def test_a_configuration_that_is_not_text_is_one_clear_line(toml: Path) -> None:
    toml.write_bytes(b"\xff\xfe\x00")
    assert "configuration cannot be read" in refusal(toml)


# Secrets

SECRET = "hunter2"


@pytest.mark.parametrize(
    "text",
    [
        f'[store]\npassword = "{SECRET}"\nexpire_days = 1',
        f'[store]\nurl = "redis://:{SECRET}@h"\npassword_file = "/none"',
        f'[store]\nurl = "{SECRET}"',
        f'[store]\nurl = "redis://:{SECRET}/x@h"',
        f'[kafka.librdkafka]\nsasl.password = "{SECRET}"',
        f'[kafka]\npassword = ["{SECRET}"]',
        f'kafka = ["{SECRET}"]',
        f'[kafka]\npasword = "{SECRET}"',
        f'[kafka.librdkafka]\n"ssl.key.pem" = ["{SECRET}"]',
    ],
)
def test_no_error_shows_a_secret(toml: Path, text: str) -> None:
    toml.write_text(text)
    assert SECRET not in refusal(toml)


@pytest.mark.parametrize(
    "text",
    [
        f'[store]\nurl = "rediss://user:{SECRET}@h:6380/1"',
        f'[store]\npassword = "{SECRET}"',
        f'[kafka]\npassword = "{SECRET}"',
        f'[kafka.librdkafka]\n"sasl.password" = "{SECRET}"',
        f'[kafka.librdkafka]\n"ssl.key.password" = "{SECRET}"',
        f'[kafka.librdkafka]\n"ssl.key.pem" = "{SECRET}"',
        f'[kafka.librdkafka]\n"sasl.oauthbearer.client.secret" = "{SECRET}"',
    ],
)
def test_printed_settings_and_their_repr_hide_every_secret(toml: Path, text: str) -> None:
    toml.write_text(text)
    settings = load_settings(toml)
    assert SECRET not in str(settings.masked())
    assert "**********" in str(settings.masked())
    if "librdkafka" not in text:
        assert SECRET not in repr(settings)


def test_the_stores_address_keeps_all_but_the_password(toml: Path) -> None:
    toml.write_text(f'[store]\nurl = "rediss://user:{SECRET}@h:6380/1"')
    assert load_settings(toml).store.address == "rediss://user:**********@h:6380/1"


def test_a_password_may_come_from_a_file_without_its_newline(toml: Path, tmp_path: Path) -> None:
    (tmp_path / "password").write_text(f"{SECRET}\n")
    toml.write_text(f'[kafka]\npassword_file = "{tmp_path / "password"}"')
    password = load_settings(toml).kafka.password
    assert password is not None
    assert password.get_secret_value() == SECRET


def test_a_password_given_goes_over_its_file(toml: Path) -> None:
    toml.write_text('[store]\npassword = "given"\npassword_file = "/none"')
    assert load_settings(toml).store.password is not None


# What librdkafka is told


def test_a_start_is_utc_milliseconds_as_kafka_wants_them() -> None:
    def start_ms(start: str) -> int | None:
        return load_settings(None, {"kafka": {"start": start}}).kafka.start_ms

    assert start_ms("2026-01-01T00:00:00") == 1_767_225_600_000
    assert start_ms("2026-01-01T00:00:00+00:00") == 1_767_225_600_000
    assert start_ms("2025-12-31T21:00:00-03:00") == 1_767_225_600_000
    assert start_ms("latest") is None


def config_of(**kafka: Any) -> dict[str, Any]:
    return client_config(Settings(kafka=kafka).kafka)


def test_credentials_reach_librdkafka_only_under_sasl() -> None:
    given = {"username": "me", "password": SECRET}
    assert "sasl.password" not in config_of(**given)
    config = config_of(security="SASL_SSL", mechanism="SCRAM-SHA-512", ca_file="/ca.pem", **given)
    assert (config["sasl.username"], config["sasl.password"]) == ("me", SECRET)
    assert (config["sasl.mechanism"], config["ssl.ca.location"]) == ("SCRAM-SHA-512", "/ca.pem")


def test_any_librdkafka_key_is_passed_over_ours() -> None:
    assert config_of(librdkafka={"client.id": "other"})["client.id"] == "other"


def test_a_key_that_librdkafka_does_not_know_is_one_clear_line() -> None:
    with pytest.raises(ConfigError, match=r'No such configuration property: "bogus.key"'):
        make_client(Producer, config_of(librdkafka={"bogus.key": 1}))


def test_exactly_once_asks_for_a_name_of_this_process() -> None:
    with pytest.raises(ConfigError, match="exactly_once needs transactional_id"):
        load_settings(None, {"kafka": {"delivery": "exactly_once"}})
    assert load_settings(None, {"kafka": {"delivery": "exactly_once", "transactional_id": "pod-0"}})


# What is empty


@pytest.mark.parametrize(
    "name", ["kafka__group", "kafka__brokers", "kafka__username", "store__url", "store__password", "model__device",
             "model__checkpoint", "output__topic", "batch__size", "log__level", "kafka__start"],
)  # fmt: skip
@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_variable_is_refused_and_no_default_is_taken(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"ESTAMPA__{name.upper()}", value)
    assert f"{name.replace('__', '.')}: Value error, is empty" in refusal()


@pytest.mark.parametrize("text", ['[kafka]\ngroup = ""', '[kafka]\ntopics = ["a", ""]', '[model]\ndevice = " "'])
def test_an_empty_value_of_the_file_is_refused(toml: Path, text: str) -> None:
    toml.write_text(text)
    assert "is empty; give a value, or leave it out for the default" in refusal(toml)


def test_a_section_of_which_one_key_is_given_counts_no_other_as_given(toml: Path) -> None:
    """A replay starts its own store unless a URL is given: the default of one is none."""
    toml.write_text("[store]\nmax_history = 5\n")
    assert load_settings(toml).store.model_fields_set == {"max_history"}


# Times, devices


@pytest.mark.parametrize("start", ["1769832000", "1769832000000", 1_769_832_000_000, "1711-05-02", 1.5])
def test_a_start_that_is_a_number_or_of_another_age_is_refused(start: Any) -> None:
    line = refusal(None, {"kafka": {"start": start}})
    assert line.startswith("kafka.start: ")
    assert "give earliest, latest or a UTC time such as 2026-01-31T04:00" in line


def test_a_start_may_be_a_time_of_toml(toml: Path) -> None:
    toml.write_text("[kafka]\nstart = 2026-01-31T04:00:00Z\n")
    assert load_settings(toml).kafka.start_ms == 1_769_832_000_000


@pytest.mark.parametrize("name", ["mps", "xpu", "meta", "cpu:1", "nonsense", "CUDA", "cuda:", "cuda:-1", "cuda:007"])
def test_a_device_that_models_do_not_run_on_is_refused(name: str) -> None:
    line = refusal(None, {"model": {"device": name}})
    assert f"models do not run on {name!r}; give auto, cpu, cuda or cuda:N" in line


@pytest.mark.parametrize("name", ["auto", "cpu", "cuda", "cuda:0", "cuda:12"])
def test_a_device_that_models_run_on_is_taken(name: str) -> None:
    assert load_settings(None, {"model": {"device": name}}).model.device == name


RENAMED = [
    ("kafka", "patience_s", "broker_timeout_s", 5.0),
    ("store", "patience_s", "timeout_s", 5.0),
    ("store", "when_behind", "on_data_loss", "stop"),
    ("output", "shape", "record_format", "alerce"),
    ("output", "framing", "avro_encoding", "schemaless"),
    ("output", "part_s", "checkpoint_s", 5.0),
    ("output", "part_messages", "checkpoint_messages", 7),
    ("monitor", "stalled_s", "liveness_timeout_s", 5.0),
    ("limits", "recent_candids", "duplicate_window", 7),
]


@pytest.mark.parametrize(("section", "old", "new", "value"), RENAMED)
@pytest.mark.parametrize("source", ["file", "environment", "overrides"])
def test_a_setting_of_the_old_name_is_read_with_a_warning_that_names_the_new_one(
    section: str, old: str, new: str, value: Any, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, given = tmp_path / "estampa.toml", {section: {old: value}} if source == "overrides" else {}
    file.write_text(f"[{section}]\n{old} = {json.dumps(value)}\n" if source == "file" else "")
    if source == "environment":
        monkeypatch.setenv(f"ESTAMPA__{section}__{old}".upper(), str(value))
    with capture_logs() as logged:
        settings = load_settings(file, given)
    assert getattr(getattr(settings, section), new) == value
    [warning] = [line for line in logged if line["event"] == "setting_renamed"]
    assert (warning["old"], warning["new"]) == (f"{section}.{old}", f"{section}.{new}")


def test_the_environment_wins_over_the_file_whichever_names_they_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "estampa.toml"
    file.write_text("[store]\ntimeout_s = 7\n")
    monkeypatch.setenv("ESTAMPA__STORE__PATIENCE_S", "9")
    assert load_settings(file).store.timeout_s == 9


def test_a_setting_under_both_names_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "estampa.toml"
    file.write_text("[store]\ntimeout_s = 7\npatience_s = 9\n")
    with pytest.raises(ConfigError, match=r"estampa.toml gives store.patience_s and store.timeout_s, one setting"):
        load_settings(file)


@pytest.mark.parametrize(
    ("kafka", "output", "message"),
    [
        ({"topics": ["a", "b"]}, {"topic": "b"}, "output.topic is 'b', which kafka.topics reads"),
        ({"topics": ["a"]}, {"dead_letter_topic": "a"}, "output.dead_letter_topic is 'a', which kafka.topics reads"),
        ({}, {"topic": "a", "dead_letter_topic": "a"}, "output.topic and output.dead_letter_topic are both 'a'"),
    ],
)
def test_topics_that_are_read_and_written_must_differ(
    kafka: dict[str, Any], output: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}"):
        load_settings(None, {"kafka": kafka, "output": output})
