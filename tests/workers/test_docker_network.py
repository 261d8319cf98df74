"""What a replica reaches: the world, but no neighbour, no service of this machine, no metadata."""

import json
import logging
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import docker.errors
import pytest

from tests.conftest import require
from tests.workers.addresses import LISTEN, another_machine, listening
from tests.workers.docker_rig import Rig, rigged
from workers import docker_network
from workers.docker_engine import DockerEngine
from workers.engine import EngineTrouble, Phase

pytestmark = pytest.mark.docker

# Each address gets some seconds; what is dropped stays silent. "gateway" is the replica's own.
PROBE = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor

routes = [line.split() for line in open("/proc/net/route")]
(gateway,) = (route[2] for route in routes if route[1] == "00000000")
gateway = socket.inet_ntoa(bytes.fromhex(gateway)[::-1])

def probe(address):
    host, port = address.replace("gateway", gateway).rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=float(sys.argv[2])).close()
        return "reached"
    except TimeoutError:
        return "silence"
    except OSError as error:
        return str(error)

addresses = json.loads(sys.argv[1])
with ThreadPoolExecutor(8) as threads:
    print(json.dumps(dict(zip(addresses, threads.map(probe, addresses)))))
"""


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with rigged() as rig:
        yield rig


@pytest.fixture(scope="module")
def network(rig: Rig) -> Iterator[str]:
    """A network of ours, as a worker makes it that is root on the engine's host."""
    require(os.geteuid() == 0 and shutil.which("iptables"), "needs root and iptables")
    with networks(rig) as names:
        rig.engine.ensure_network(names[0])
        yield names[0]


@pytest.fixture
def name(rig: Rig) -> Iterator[str]:
    """A name for a network that is not there yet."""
    with networks(rig) as names:
        yield names[0]


class networks:  # noqa: N801  # a context manager
    """A free name for a network; afterwards all networks and packet filter rules of it go."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.name = f"onejob-test-{secrets.token_hex(4)}"

    def __enter__(self) -> list[str]:
        return [self.name]

    def __exit__(self, *_: object) -> None:
        for container in self.rig.engine.owned(self.rig.node):
            self.rig.engine.remove(container.id)
        for network in named(self.rig, self.name):
            with suppress(docker.errors.NotFound):
                self.rig.api.remove_network(network["Id"])
        for chain, *match in docker_network.rules(docker_network.bridge_name(self.name)):
            delete = ["iptables", "-w", "-D", chain, *match]
            while shutil.which("iptables") and not subprocess.call(delete, stderr=DEVNULL):
                pass  # workers that start at once may have added it twice


def named(rig: Rig, name: str) -> list[dict[str, Any]]:
    return [n for n in rig.api.networks(names=[name]) if n["Name"] == name]


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[dict[str, str]]:
    """Another machine's addresses: "plain" and "local", which is link-local."""
    require(os.geteuid() == 0 and shutil.which("ip"), "needs root and ip")
    with another_machine() as addresses:
        yield addresses


def reached(rig: Rig, network: str, *addresses: str) -> dict[str, str]:
    """What a replica in a network gets from each address."""
    name = f"probe-{secrets.token_hex(3)}"
    # The default bridge may lose frames while other containers come and go; all is reached there.
    seconds = 30 if network == "bridge" else 2
    argv = ("python3", "-c", PROBE, json.dumps(addresses), str(seconds))
    answers: dict[str, str] = rig.printed(rig.spec("", name, argv=argv, network=network))
    return answers


def address(rig: Rig, id: str) -> str:
    networks = rig.api.inspect_container(id)["NetworkSettings"]["Networks"]
    return str(next(iter(networks.values()))["IPAddress"])


def test_a_replica_does_not_reach_its_neighbour(rig: Rig, network: str) -> None:
    answers = {}
    for where in ("bridge", network):
        argv = ("python3", "-c", LISTEN, "8080")
        neighbour = rig.start(rig.spec("", f"neighbour-{where}", argv=argv, network=where))
        assert rig.first_line(neighbour) == "listening"
        answers[where] = [*reached(rig, where, f"{address(rig, neighbour.id)}:8080").values()]
    # That the default bridge lets it through shows that the probe would see it.
    assert answers == {"bridge": ["reached"], network: ["silence"]}


@pytest.mark.root
def test_a_replica_does_not_reach_services_of_this_machine(
    rig: Rig, network: str, elsewhere: dict[str, str]
) -> None:
    port = 20_000 + secrets.randbelow(10_000)
    other = elsewhere["plain"].rsplit(".", 1)
    this = f"{other[0]}.{int(other[1]) - 1}"  # this machine's end of the link
    with listening(sys.executable, ports=(port,)):
        services = f"gateway:{port}", f"{this}:{port}"
        assert reached(rig, "bridge", *services) == dict.fromkeys(services, "reached")
        assert reached(rig, network, *services) == dict.fromkeys(services, "silence")


@pytest.mark.root
def test_a_replica_reaches_the_world_but_no_metadata_address(
    rig: Rig, network: str, elsewhere: dict[str, str]
) -> None:
    plain, local = f"{elsewhere['plain']}:8080", f"{elsewhere['local']}:8080"
    assert reached(rig, "bridge", plain, local) == {plain: "reached", local: "reached"}
    assert reached(rig, network, plain, local) == {plain: "reached", local: "silence"}


@pytest.mark.root
def test_a_nameserver_at_a_link_local_address_is_reached(
    rig: Rig, network: str, elsewhere: dict[str, str]
) -> None:
    nameserver = f"{elsewhere['local']}:53"
    assert reached(rig, network, nameserver) == {nameserver: "reached"}


def test_names_resolve_in_a_replica_as_they_do_on_this_machine(rig: Rig, network: str) -> None:
    script = """
import json, socket
found = set()
for _ in range(3):  # a nameserver may not answer at once
    try:
        found = {a[4][0] for a in socket.getaddrinfo("pypi.org", 443)}
        break
    except OSError:
        pass
print(json.dumps(sorted(found)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    here = json.loads(done.stdout)
    require(here, "this machine resolves no names")
    assert rig.printed(rig.spec(script, "resolver", network=network))


def test_a_replica_has_no_ipv6_addresses_that_the_rules_would_miss(rig: Rig, network: str) -> None:
    program = """
import json, os
path = "/proc/net/if_inet6"
lines = open(path).read().splitlines() if os.path.exists(path) else []
print(json.dumps([line.split()[-1] for line in lines if line.split()[-1] != "lo"]))
"""
    assert rig.printed(rig.spec(program, "six", network=network)) == []


def test_without_a_network_there_is_only_loopback(rig: Rig) -> None:
    program = "import json, os; print(json.dumps(os.listdir('/sys/class/net')))"
    assert rig.printed(rig.spec(program, "alone", network="none")) == ["lo"]


@pytest.mark.root
def test_making_sure_again_adds_no_rule_twice(rig: Rig, network: str) -> None:
    rig.engine.ensure_network(network)
    listed = subprocess.run(["iptables", "-w", "-S"], capture_output=True, text=True, check=True)
    bridge = docker_network.bridge_name(network)
    ours = [
        line for line in listed.stdout.splitlines() if f"-i {bridge} " in line and "DROP" in line
    ]
    added = [line for line in ours if line.startswith(("-A INPUT", "-A DOCKER-USER"))]
    assert len(added) == len(set(added)) == len(docker_network.rules(bridge))


def test_workers_that_start_at_once_make_one_network(rig: Rig, name: str) -> None:
    engines = [DockerEngine(None) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda engine: engine.ensure_network(name), engines))
    for engine in engines:
        engine.close()
    assert len(named(rig, name)) == 1


def test_of_two_networks_of_one_name_the_smaller_id_stays(rig: Rig, name: str) -> None:
    labels = {docker_network.LABEL: "true"}
    twins = [
        rig.api.create_network(name, driver="bridge", labels=labels, check_duplicate=False)["Id"]
        for _ in range(2)
    ]
    rig.engine.ensure_network(name)
    assert [n["Id"] for n in named(rig, name)] == [min(twins)]


def test_a_network_that_was_pruned_is_made_again(rig: Rig, name: str) -> None:
    rig.engine.ensure_network(name)
    spec = rig.spec("import time; print(1); time.sleep(60)", "pruned", network=name)
    made = rig.engine.create(spec)
    rig.api.remove_network(named(rig, name)[0]["Id"])
    rig.engine.start(made.id)
    found = rig.engine.find(spec.name)
    assert found is not None
    assert found.phase is Phase.RUNNING
    assert len(named(rig, name)) == 1


def test_a_network_that_nobody_made_is_the_machines_trouble(rig: Rig, name: str) -> None:
    with pytest.raises(EngineTrouble, match="not found"):
        rig.start(rig.spec("pass", "nowhere", network=name))


def test_an_operators_own_network_is_left_as_it_is(
    rig: Rig, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    made = rig.api.create_network(name, driver="bridge")["Id"]
    rig.engine.ensure_network(name)
    (network,) = named(rig, name)
    assert (network["Id"], network["Labels"] or {}) == (made, {})
    assert f"{name} was not made by us" in caplog.text


@pytest.mark.parametrize("name", ["host", "container:abc", "", "a b", "-x"])
def test_what_is_no_network_of_its_own_is_refused(rig: Rig, name: str) -> None:
    with pytest.raises(ValueError, match="not a network for replicas"):
        rig.engine.ensure_network(name)


@pytest.mark.parametrize("missing", ["root", "bridge", "iptables", "chain"])
def test_what_can_not_be_shielded_is_said_once(
    missing: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    program = tmp_path / "iptables"
    program.write_text("#!/bin/sh\necho No chain by that name >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", "/nowhere" if missing == "iptables" else f"{tmp_path}:/bin")
    monkeypatch.setattr(os, "geteuid", lambda: 1000 if missing == "root" else 0)
    docker_network._warn.cache_clear()
    interface = "oj-no-such" if missing == "bridge" else "lo"
    with caplog.at_level(logging.WARNING):
        docker_network.shield(interface)
        docker_network.shield(interface)
    words = {"root": "not root", "bridge": "namespace", "iptables": "no iptables", "chain": "chain"}
    assert len(caplog.messages) == 1
    assert words[missing] in caplog.messages[0]
