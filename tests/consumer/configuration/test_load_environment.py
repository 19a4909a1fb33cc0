"""Names of environment variables: what looks like a setting and sets nothing is told with the right spelling."""

import pytest

from consumer.configuration.load import check_environment, load_settings
from consumer.errors import ConfigError

SETTINGS = {"kafka": ("brokers", "group"), "store": ("url",), "monitor": ("port",)}


def refusal(name: str, value: str = "x") -> str:
    with pytest.raises(ConfigError) as caught:
        check_environment({name: value}, SETTINGS)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ESTAMPA_KAFKA_BROKERS", "ESTAMPA__KAFKA__BROKERS"),
        ("ESTAMPA_KAFKA__BROKERS", "ESTAMPA__KAFKA__BROKERS"),
        ("ESTAMPA__KAFKA_BROKERS", "ESTAMPA__KAFKA__BROKERS"),
        ("ESTAMPA___KAFKA__BROKERS", "ESTAMPA__KAFKA__BROKERS"),
        ("ESTAMPA_BROKERS", "ESTAMPA__KAFKA__BROKERS"),
        ("ESTAMPA_MONITOR_PORT", "ESTAMPA__MONITOR__PORT"),
        ("estampa_store_url", "ESTAMPA__STORE__URL"),
    ],
)
def test_a_name_with_other_underscores_is_told_with_the_right_ones(name: str, meant: str) -> None:
    assert refusal(name) == f"environment variable {name} sets nothing: did you mean {meant!r}?"


def test_a_section_that_is_none_is_told_with_the_nearest() -> None:
    assert refusal("ESTAMPA__KAFAK__GROUP").endswith("ESTAMPA__KAFAK__GROUP sets nothing: did you mean 'kafka'?")


def test_a_refusal_does_not_repeat_the_value() -> None:
    assert "hunter2" not in refusal("ESTAMPA_KAFKA_PASSWORD", "hunter2")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ESTAMPA_CONFIG", "/etc/estampa.toml"),
        ("ESTAMPA_REAL_ALERTS", "x"),
        ("ESTAMPA_KAFKA_HOME", "x"),
        ("ESTAMPA_TEST_KAFKA", "x"),
        ("_ESTAMPA_COMPLETE", "complete_bash"),
        ("ESTAMPA__KAFKA__GROUP", "x"),
        ("estampa__kafka__group", "x"),
        ("ESTAMPA__KAFKA", "{}"),
        ("ESTAMPAX", "x"),
        # Kubernetes, of a Service that is called estampa, or estampa-kafka
        ("ESTAMPA_SERVICE_HOST", "10.0.0.1"),
        ("ESTAMPA_SERVICE_PORT", "9108"),
        ("ESTAMPA_SERVICE_PORT_METRICS", "9108"),
        ("ESTAMPA_PORT", "tcp://10.0.0.1:9108"),
        ("ESTAMPA_PORT_9108_TCP", "tcp://10.0.0.1:9108"),
        ("ESTAMPA_PORT_9108_TCP_ADDR", "10.0.0.1"),
        ("ESTAMPA_KAFKA_SERVICE_HOST", "10.0.0.1"),
    ],
)
def test_what_is_a_setting_or_another_s_passes(name: str, value: str) -> None:
    check_environment({name: value}, SETTINGS)


def test_a_configuration_named_by_an_unset_variable_is_refused() -> None:
    assert refusal("ESTAMPA_CONFIG", "").startswith("environment variable ESTAMPA_CONFIG is empty")


def test_settings_are_not_loaded_beside_a_misspelt_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESTAMPA_KAFKA_BROKERS", "b:9092")
    with pytest.raises(ConfigError, match="ESTAMPA_KAFKA_BROKERS sets nothing: did you mean 'ESTAMPA__KAFKA__BROKERS'"):
        load_settings()
