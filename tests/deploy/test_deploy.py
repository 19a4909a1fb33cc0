"""What deploy/ says agrees with the program: metrics, settings, ports, paths, reasons, commands."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

from consumer import metrics
from consumer.__main__ import app
from consumer.configuration.load import load_settings
from consumer.configuration.settings import LimitSettings, MonitorSettings, Settings
from consumer.errors import Reason
from consumer.monitoring.health import Heartbeat, Monitor
from tests.conftest import ROOT

DEPLOY = ROOT / "deploy"
SECRETS = "kubernetes/base/secret.example.yaml"
PORT = MonitorSettings().port
OURS = re.compile(r"\bestampa_[a-z_]+")


def documents(path: Path) -> list[Any]:
    return list(yaml.safe_load_all(path.read_text()))


def exported() -> set[str]:
    """Every name that /metrics can show, labels or not."""
    names = {"estampa_gpu_memory_bytes"}  # shown where there is a GPU
    endings = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
    for family in REGISTRY.collect():
        names |= {family.name + ending for ending in endings.get(family.type, ())}
    return names


def dashboard_queries() -> list[str]:
    board = json.loads((DEPLOY / "grafana/dashboards/estampa.json").read_text())
    return [target["expr"] for panel in board["panels"] for target in panel["targets"]]


def rules() -> list[dict[str, Any]]:
    [document] = documents(DEPLOY / "prometheus/rules.yml")
    return [rule for group in document["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("*.y*ml")), ids=lambda path: str(path.relative_to(DEPLOY)))
def test_every_yaml_file_parses(path: Path) -> None:
    assert all(documents(path))


@pytest.mark.parametrize("query", dashboard_queries())
def test_every_query_of_the_dashboard_names_a_metric_that_exists(query: str) -> None:
    assert set(OURS.findall(query)) <= exported()


def test_every_metric_is_on_the_dashboard() -> None:
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for query in dashboard_queries() for name in OURS.findall(query)}
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in exported() if name.startswith("estampa_")} == shown


def test_labels_of_queries_and_rules_are_those_of_the_metrics() -> None:
    labels = {name: set(kind._labelnames) for name in vars(metrics) if (kind := labelled(name)) is not None}
    known = set().union(*labels.values()) | {"le", "instance", "job"}
    queries = [*dashboard_queries(), *(rule["expr"] for rule in rules())]
    used = {name for query in queries for group in re.findall(r"by \(([^)]*)\)", query) for name in group.split(", ")}
    assert used <= known


def labelled(name: str) -> Any:
    kind = getattr(metrics, name)
    return kind if hasattr(kind, "_labelnames") else None


def test_every_rule_names_metrics_that_exist_has_a_chapter_in_the_runbook_and_a_test() -> None:
    runbook = (DEPLOY / "RUNBOOK.md").read_text()
    tested = (DEPLOY / "prometheus/rules_test.yml").read_text()
    for rule in rules():
        assert set(OURS.findall(rule["expr"])) <= exported(), rule["alert"]
        assert f"\n## {rule['alert']}\n" in runbook
        assert rule["annotations"]["runbook"] == f"RUNBOOK.md#{rule['alert'].lower()}"
        assert f"alertname: {rule['alert']}" in tested


def test_the_runbook_has_a_line_for_every_reason_and_names_commands_that_exist() -> None:
    runbook = (DEPLOY / "RUNBOOK.md").read_text()
    assert [reason for reason in Reason if reason not in runbook] == []
    names = {one.name or one.callback.__name__.replace("_", "-") for one in app.registered_commands if one.callback}
    named = set(re.findall(r"(?:^|`|-- |bin/)estampa ([a-z][a-z-]+)", runbook, re.M))
    assert named <= names | {group.name for group in app.registered_groups}


def test_dead_letters_are_kept_until_a_person_deletes_them() -> None:
    [compose] = documents(DEPLOY / "compose.yaml")
    assert "make estampa.deadletters 1 --config retention.ms=-1" in compose["services"]["kafka-topics"]["command"][0]


def test_links_between_the_documents_lead_somewhere() -> None:
    for path in DEPLOY.glob("*.md"):
        for link in re.findall(r"\]\(([^)#]+)", path.read_text()):
            assert (DEPLOY / link).exists(), f"{path.name}: {link}"


def settings_environments() -> Iterator[tuple[str, dict[str, str]]]:
    [compose] = documents(DEPLOY / "compose.yaml")
    for name, service in compose["services"].items():
        found = {key: str(value) for key, value in (service.get("environment") or {}).items()}
        if any(key.startswith("ESTAMPA__") for key in found):
            yield f"compose {name}", {key: re.sub(r"\$\{\w+:-([\w:]*)\}", r"\1", value) for key, value in found.items()}
    secret, _ = documents(DEPLOY / SECRETS)
    yield "secret", secret["stringData"]
    for overlay in ("gpu", "cluster"):
        [file] = documents(DEPLOY / f"kubernetes/overlays/{overlay}/kustomization.yaml")
        changes = [change for patch in file["patches"] for change in yaml.safe_load(patch["patch"])]
        yield (
            overlay,
            {one["value"]["name"]: one["value"]["value"] for one in changes if one["path"].endswith("/env/-")},
        )
    unit = (DEPLOY / "systemd/estampa@.service").read_text().replace("%i", "1")
    yield "systemd", dict(re.findall(r"(ESTAMPA__\w+)=(\S+)", unit))
    yield "image", dict(re.findall(r"(ESTAMPA__\w+)=(\S+)", (DEPLOY / "Dockerfile").read_text()))


@pytest.mark.parametrize(("place", "environment"), list(settings_environments()), ids=lambda one: str(one)[:20])
def test_every_setting_by_environment_is_one(
    place: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert environment, place
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    load_settings()


def test_the_config_map_is_a_configuration() -> None:
    found = load_settings(DEPLOY / "kubernetes/base/estampa.toml")
    assert isinstance(found, Settings)
    assert (found.monitor.host, found.monitor.port) == ("0.0.0.0", PORT)
    scaled, _ = documents(DEPLOY / "kubernetes/components/keda/autoscaler.yaml")
    [trigger] = scaled["spec"]["triggers"]
    assert trigger["metadata"]["consumerGroup"] == found.kafka.group
    assert trigger["metadata"]["bootstrapServers"] == found.kafka.brokers


def test_ports_agree() -> None:
    [deployment] = documents(DEPLOY / "kubernetes/base/deployment.yaml")
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert container["ports"] == [{"name": "monitor", "containerPort": PORT}]
    [service] = documents(DEPLOY / "kubernetes/base/service.yaml")
    assert service["spec"]["ports"][0]["port"] == PORT
    [network] = documents(DEPLOY / "kubernetes/base/network.yaml")
    assert network["spec"]["ingress"][0]["ports"][0]["port"] == PORT
    [scrapes] = documents(DEPLOY / "prometheus/prometheus.yml")
    assert scrapes["scrape_configs"][0]["dns_sd_configs"][0]["port"] == PORT
    image = (DEPLOY / "Dockerfile").read_text()
    assert f"EXPOSE {PORT}\n" in image
    assert f"127.0.0.1:{PORT}/healthz" in image


def test_probes_ask_for_paths_that_are_served() -> None:
    monitor = Monitor(MonitorSettings(port=0), Heartbeat(60.0), {})
    try:
        [deployment] = documents(DEPLOY / "kubernetes/base/deployment.yaml")
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert monitor.answer(container[probe]["httpGet"]["path"])[0] == 200
    finally:
        monitor.close()


def test_nothing_runs_as_root_or_writes_to_its_root() -> None:
    [deployment] = documents(DEPLOY / "kubernetes/base/deployment.yaml")
    pod = deployment["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    [compose] = documents(DEPLOY / "compose.yaml")
    assert compose["services"]["consumer"]["read_only"]
    assert compose["services"]["consumer"]["cap_drop"] == ["ALL"]
    assert "\nUSER 10001:10001\n" in (DEPLOY / "Dockerfile").read_text()


def test_the_broker_of_compose_takes_the_largest_dead_letter() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    sizes = [int(one) for one in re.findall(r'(?:KAFKA_MESSAGE_MAX_BYTES: "|max.message.bytes=)(\d+)', text)]
    assert len(sizes) == 3  # the broker's, and those of the topics of each night and of ours
    assert min(sizes) >= LimitSettings().packet_bytes + 2**20


def test_the_image_is_built_of_what_is_there() -> None:
    image, ignored = (DEPLOY / "Dockerfile").read_text(), (DEPLOY / "Dockerfile.dockerignore").read_text().split()
    copied = [word for line in re.findall(r"^COPY (?!--from)(.*)", image, re.M) for word in line.split()[:-1]]
    assert {"consumer", "model_zoo", "schemas", "pyproject.toml", "constraints.txt"} <= set(copied)
    for name in copied:
        assert (ROOT / name).exists()
        assert f"!{name}" in ignored


def test_files_that_compose_mounts_are_there() -> None:
    [compose] = documents(DEPLOY / "compose.yaml")
    mounts = [one for service in compose["services"].values() for one in service.get("volumes", ())]
    local = [one.split(":")[0] for one in mounts if one.startswith("./")]
    assert local
    assert [one for one in local if not (DEPLOY / one).exists()] == []


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed here")
    unit = tmp_path / "estampa@.service"
    text = (DEPLOY / "systemd/estampa@.service").read_text()
    unit.write_text(text.replace("/opt/estampa/bin/estampa", sys.executable))  # it wants a program that is there
    done = subprocess.run(("systemd-analyze", "verify", unit), text=True, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


TOOLS = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
"""`make tools` puts them there."""


def said(*command: str, given: str | None = None) -> str:
    """What a tool of the trade prints about deploy/; a test without the tool is skipped."""
    program = shutil.which(command[0], path=TOOLS)
    if program is None:
        pytest.skip(f"{command[0]} is not installed here: make tools")
    words = (program, *command[1:])
    done = subprocess.run(words, cwd=DEPLOY, input=given, text=True, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "command",
    [
        ("promtool", "test", "rules", "prometheus/rules_test.yml"),
        ("promtool", "check", "config", "prometheus/prometheus.yml"),
        ("hadolint", "Dockerfile"),
        ("shellcheck", "../.ci/run"),
    ],
    ids=" ".join,
)
def test_what_the_tool_of_the_trade_says(command: tuple[str, ...]) -> None:
    said(*command)


def test_compose_takes_its_file_with_every_profile() -> None:
    text = (DEPLOY / "compose.yaml").read_text().replace("\nname: estampa\n", "\n")  # version 1 knows no name
    words = ("docker-compose", "--file", "-", "--project-directory", ".", "--profile", "gpu", "--profile", "simulated")
    services = yaml.safe_load(said(*words, "config", given=text))["services"]
    for name in ("consumer", "consumer-gpu", "simulated-night"):
        assert services[name]["read_only"], name
        assert services[name]["environment"]["ESTAMPA__KAFKA__BROKERS"] == "kafka:9092"


@pytest.mark.parametrize("place", ["base", "overlays/gpu", "overlays/cluster", "overlays/full"])
def test_manifests_as_kustomize_writes_them(place: str) -> None:
    found = {one["kind"]: one for one in yaml.safe_load_all(said("kubectl", "kustomize", f"kubernetes/{place}"))}
    pod = found["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    policy = found["NetworkPolicy"]["spec"]
    for selector in (
        found["Deployment"]["spec"]["selector"]["matchLabels"],
        found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        found["Service"]["spec"]["selector"],
        policy["podSelector"]["matchLabels"],
    ):
        assert selector.items() <= pod
    reached = [to["podSelector"] for rule in policy["egress"] for to in rule["to"] if "podSelector" in to]
    stores = {"key": "app.kubernetes.io/name", "operator": "In", "values": ["valkey", "valkey-cluster"]}
    assert reached == [{"matchExpressions": [stores]}]
    assert {one["metadata"].get("namespace", "estampa") for one in found.values()} == {"estampa"}
    [container] = found["Deployment"]["spec"]["template"]["spec"]["containers"]
    [mounted] = [one["mountPath"] for one in container["volumeMounts"] if one["name"] == "config"]
    [config] = [one["value"] for one in container["env"] if one["name"] == "ESTAMPA_CONFIG"]
    assert config == f"{mounted}/{next(iter(found['ConfigMap']['data']))}"
    schemas = pytest.importorskip("kubernetes_validate", reason="make tools")
    for kind, one in found.items():
        if kind not in {"ScaledObject", "TriggerAuthentication", "ServiceMonitor"}:  # of KEDA and Prometheus
            schemas.validate(one, schemas.latest_version(), strict=True)


def test_scrapes_by_the_operator_bear_the_name_that_the_rules_ask_for() -> None:
    found = {one["kind"]: one for one in yaml.safe_load_all(said("kubectl", "kustomize", "kubernetes/overlays/full"))}
    service, monitor = found["Service"], found["ServiceMonitor"]["spec"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert [one["port"] for one in monitor["endpoints"]] == [one["name"] for one in service["spec"]["ports"]]
    jobs = {job for rule in rules() for job in re.findall(r'job="(\w+)"', rule["expr"])}
    assert jobs == {service["metadata"]["labels"][monitor["jobLabel"]]}
    [scrapes] = documents(DEPLOY / "prometheus/prometheus.yml")
    assert jobs <= {one["job_name"] for one in scrapes["scrape_configs"]}


def test_the_runbook_makes_the_operators_rules_of_ours() -> None:
    [command] = re.findall(r"^ *(\(printf .*\)) \| kubectl apply", (DEPLOY / "RUNBOOK.md").read_text(), re.M)
    done = subprocess.run(("sh", "-c", command), cwd=ROOT, text=True, capture_output=True, timeout=60, check=True)
    made = yaml.safe_load(done.stdout)
    [document] = documents(DEPLOY / "prometheus/rules.yml")
    assert (made["kind"], made["spec"]) == ("PrometheusRule", document)


def test_members_by_lag_and_a_number_of_replicas_do_not_fight() -> None:
    found = {one["kind"]: one for one in yaml.safe_load_all(said("kubectl", "kustomize", "kubernetes/overlays/full"))}
    assert "replicas" not in found["Deployment"]["spec"]
    assert found["ScaledObject"]["spec"]["scaleTargetRef"]["name"] == found["Deployment"]["metadata"]["name"]


def test_the_autoscaler_asks_keda_for_nothing_it_refuses() -> None:
    """KEDA scales nothing at all with `limitToPartitionsWithLag` and no topic, and ours has another name each night."""
    scaled, login = documents(DEPLOY / "kubernetes/components/keda/autoscaler.yaml")
    [trigger] = scaled["spec"]["triggers"]
    assert trigger["authenticationRef"]["name"] == login["metadata"]["name"]
    secrets = {one["metadata"]["name"]: one["stringData"] for one in documents(DEPLOY / SECRETS)}
    assert all(one["key"] in secrets[one["name"]] for one in login["spec"]["secretTargetRef"])
    assert {"topic", "limitToPartitionsWithLag", "partitionLimitation"} & trigger["metadata"].keys() == set()
    assert all(isinstance(value, str) for value in trigger["metadata"].values())
