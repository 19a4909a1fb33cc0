"""Nobody gets in: TLS and rights to broker and store, refusals that are one clear line, no secret in what is shown.

The embedded broker's TLS and SASL are not for librdkafka: a front of ours speaks both before it. The embedded store is
built without TLS; Debian's redis-server has it.
"""

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from consumer.embedded import free_port
from tests.conftest import ROOT
from tests.support.front import Front, start_behind
from tests.support.line import consuming, environment, estampa, estampa_here, payloads, unique, write_tar
from tests.support.login import LoginFront
from tests.support.packets import night

pytestmark = pytest.mark.integration

Pair = tuple[Path, Path]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Certificate and key of this machine, signed by themselves."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed here")
    folder = tmp_path_factory.mktemp("tls")
    pair = folder / "cert.pem", folder / "key.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    words += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", str(pair[0]), "-keyout", str(pair[1])]
    subprocess.run(words, check=True, capture_output=True)
    return pair


@pytest.fixture
def tls_broker(certificate: Pair) -> Iterator[str]:
    """Address of a broker that sends its clients back to TLS: nothing goes past it."""
    front = Front(*certificate)
    server = start_behind(front)
    yield front.address
    server.stop()
    front.close()


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def send(client: dict[str, str]) -> dict[str, str]:
    """Six alerts into a new topic; names of it and of those for what comes out."""
    topics = {"topic": unique("night"), "output": unique("out"), "dead": unique("dead")}
    admin = AdminClient(client)
    for made in admin.create_topics([NewTopic(name, 1, 1) for name in topics.values()]).values():
        made.result(20)
    producer = Producer(client)
    for payload in payloads(night(objects=3, visits=2)):
        producer.produce(topics["topic"], payload)
    assert producer.flush(20) == 0
    return topics


def test_a_night_goes_through_a_broker_that_speaks_tls(
    tls_broker: str, certificate: Pair, store_url: str, checkpoint_folder: Path
) -> None:
    secure = {"bootstrap.servers": tls_broker, "security.protocol": "SSL", "ssl.ca.location": str(certificate[0])}
    tls = {"kafka__security": "SSL", "kafka__ca_file": str(certificate[0])}
    env = consuming(checkpoint_folder, tls_broker, store_url, send(secure), unique("g"), **tls)
    done = estampa(env, "consume", "--exit-at-end")
    assert done.returncode == 0, done.stderr
    assert "6 = 6 classified" in done.stdout


@pytest.fixture(params=["SASL_PLAINTEXT", "SASL_SSL"])
def login_broker(request: pytest.FixtureRequest, certificate: Pair) -> Iterator[LoginFront]:
    """A broker that knows one user, over TLS or without."""
    front = LoginFront("estampa", "the-one", *(certificate if request.param == "SASL_SSL" else ()))
    server = start_behind(front)
    yield front
    server.stop()
    front.close()


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_a_night_goes_through_a_broker_that_asks_who_we_are(
    mechanism: str, login_broker: LoginFront, certificate: Pair, store_url: str, checkpoint_folder: Path, tmp_path: Path
) -> None:
    client = {
        "bootstrap.servers": login_broker.address,
        "security.protocol": login_broker.security,
        "ssl.ca.location": str(certificate[0]),
        "sasl.mechanism": mechanism,
        "sasl.username": "estampa",
        "sasl.password": "the-one",
    }
    topics = send(client)
    before = login_broker.admitted[mechanism]
    secret = tmp_path / "password"
    secret.write_text("the-one\n")
    login = {"security": login_broker.security, "mechanism": mechanism, "username": "estampa"}
    login |= {"password_file": str(secret), "ca_file": str(certificate[0])}
    settings = {f"kafka__{name}": value for name, value in login.items()}
    env = consuming(checkpoint_folder, login_broker.address, store_url, topics, unique("g"), **settings)
    done = estampa(env, "consume", "--exit-at-end")
    assert done.returncode == 0, done.stderr
    assert "6 = 6 classified" in done.stdout
    assert login_broker.admitted[mechanism] > before
    assert "the-one" not in done.stdout + done.stderr


def test_a_broker_whose_certificate_nobody_vouches_for_is_refused_in_one_clear_line(
    tls_broker: str, store_url: str, checkpoint_folder: Path
) -> None:
    env = consuming(checkpoint_folder, tls_broker, store_url, {"topic": "t", "output": "o", "dead": "d"}, unique("g"))
    done = estampa(env | {"ESTAMPA__KAFKA__SECURITY": "SSL"}, "consume")
    assert done.returncode == 1
    assert "refuses this client" in last_line(done)
    assert "kafka.ca_file" in last_line(done)


@pytest.mark.parametrize(
    ("mechanism", "command"),
    [
        ("PLAIN", ("consume",)),
        ("SCRAM-SHA-512", ("consume",)),
        ("PLAIN", ("audit", "--topic", "t")),
        ("PLAIN", ("deadletters", "list")),
    ],
)
def test_a_password_that_the_broker_refuses_is_one_clear_line_without_it(
    mechanism: str, command: tuple[str, ...], broker: str, store_url: str, checkpoint_folder: Path
) -> None:
    front = LoginFront("estampa", "the-one")
    front.target = broker
    login = {"security": "SASL_PLAINTEXT", "mechanism": mechanism, "username": "estampa", "password": "not-the-one"}
    settings = {f"kafka__{name}": value for name, value in login.items()}
    topics = {"topic": "t", "output": "o", "dead": "d"}
    env = consuming(checkpoint_folder, front.address, store_url, topics, "g", **settings)
    started = time.monotonic()
    done = estampa(env, *command)
    front.close()
    assert front.admitted == {}
    assert done.returncode == 1
    assert "refuses this client" in last_line(done)
    assert "kafka.password" in last_line(done)
    assert "not-the-one" not in done.stdout + done.stderr
    assert time.monotonic() - started < 60


RIGHTS = re.search(r"ACL user with the keys (.*?) and the commands `(.*?)`", (ROOT / "deploy/SECURITY.md").read_text())


@pytest.fixture
def guarded_store(certificate: Pair, tmp_path: Path) -> Iterator[str]:
    """host:port of a store that speaks TLS alone, with the user of SECURITY.md and no other."""
    server = shutil.which("redis-server")
    if server is None:
        pytest.skip("redis-server is not installed here: the embedded store speaks no TLS")
    assert RIGHTS, "SECURITY.md no longer says what rights are enough"
    keys = " ".join(f"~{key}" for key in re.findall(r"`(.*?)`", RIGHTS[1]))
    commands = " ".join(f"+{name}" for name in RIGHTS[2].split())
    acl = tmp_path / "users.acl"
    acl.write_text(f"user default off\nuser estampa on >right {keys} {commands}\nuser tester on >tester ~* +@all\n")
    port = free_port()
    words = [server, "--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no", "--dir", str(tmp_path)]
    words += ["--tls-cert-file", str(certificate[0]), "--tls-key-file", str(certificate[1]), "--aclfile", str(acl)]
    words += ["--maxmemory-policy", "noeviction", "--save", ""]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    tester = redis.Redis(port=port, ssl=True, ssl_ca_certs=str(certificate[0]), username="tester", password="tester")
    deadline = time.monotonic() + 20
    while not _answers(tester):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    yield f"127.0.0.1:{port}"
    tester.close()
    process.terminate()
    process.wait()


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def test_a_store_of_tls_and_few_rights_is_enough(
    guarded_store: str, certificate: Pair, checkpoint_folder: Path, tmp_path: Path
) -> None:
    archive = write_tar(tmp_path / "night.tar", payloads(night(objects=3, visits=2)))
    url = f"rediss://estampa@{guarded_store}/0?ssl_ca_certs={certificate[0]}"
    secret = tmp_path / "password"
    secret.write_text("right\n")
    env = environment(checkpoint_folder, store__url=url, store__password_file=str(secret))
    done = estampa(env, "replay", str(archive))
    assert done.returncode == 0, done.stderr
    assert "6 = 6 classified" in done.stdout
    shown = estampa_here(env, "object", night(1, 1)[0].object_id)
    assert "2 alerts" in shown.stdout, shown.stderr


@pytest.mark.parametrize(
    ("user", "query", "said"),
    [
        ("estampa:wrong-one", "?ssl_ca_certs={ca}", "store.password"),
        ("estampa:right", "", "certificate"),
    ],
)
def test_a_store_that_refuses_us_or_that_nobody_vouches_for_is_one_clear_line(
    user: str, query: str, said: str, guarded_store: str, certificate: Pair, checkpoint_folder: Path, tmp_path: Path
) -> None:
    archive = write_tar(tmp_path / "night.tar", payloads(night(1, 1)))
    url = f"rediss://{user}@{guarded_store}/0{query.format(ca=certificate[0])}"
    done = estampa_here(environment(checkpoint_folder, store__url=url), "replay", str(archive))
    assert done.returncode == 1
    assert said in last_line(done)
    assert "wrong-one" not in done.stdout + done.stderr
