"""A machine's room: what it has, who waits for it, and who is told that there is some."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.domain.compute import Capacity, ComputeResource, Offer
from app.domain.job import State
from app.settings import Settings
from tests.contracts.scripted_engine import ScriptedEngine
from tests.workers.rig import Gate, Rig, runs
from workers.allegiance import Allegiance
from workers.docker_form import create_arguments
from workers.engine import ContainerSpec, Limits
from workers.room import MIB, capacity, shortages

NVIDIA = """Model: \t\t NVIDIA A100
IRQ:   \t\t 33
GPU UUID: \t {uuid}
Bus Location: \t 0000:00:04.0
"""


@pytest.fixture
def narrow(redis_url: str, tmp_path: Path) -> Iterator[Rig]:
    """A node with room for one replica, and a deployment that may run three at once."""
    rig = Rig(redis_url, tmp_path / "spool", cap=3)
    rig.offer = Offer(Capacity(1, 4096))
    yield rig
    rig.close()


def test_who_waits_for_room_gets_it_when_a_replica_is_gone(narrow: Rig) -> None:
    gate = Gate("before engine.create")
    site = narrow.site(gate)
    for name in ("a", "b"):
        narrow.submit(name)
    first = narrow.supervising("a", site)
    gate.wait()
    assert narrow.supervise("b", site) is None
    assert narrow.job("b").state is State.DISPATCHED
    gate.open()
    first.answer()
    assert [hint.id for hint in narrow.to_node_published] == ["b"]
    assert narrow.supervise("b", site).state is State.SUCCEEDED  # type: ignore[union-attr]


def test_the_sweep_tells_of_room_that_another_process_made(narrow: Rig) -> None:
    site, other = narrow.site(), narrow.site()
    narrow.submit("a")
    narrow.submit("b")
    narrow.ledger.attempts.claim(narrow.uid, "a", narrow.node, 60, narrow.offer)
    assert narrow.supervise("b", site) is None
    narrow.lapse("a")
    narrow.supervise("a", other)
    assert narrow.to_node_published == []
    narrow.sweep(site).sweep(0.0)
    assert [hint.id for hint in narrow.to_node_published] == ["b"]


def test_a_machine_that_takes_no_jobs_keeps_no_room(narrow: Rig) -> None:
    site = narrow.site()
    for name in ("a", "b"):
        narrow.submit(name)
    narrow.supervise("a", site)
    narrow.ledger.attempts.claim(narrow.uid, "b", narrow.node, 60, Offer(Capacity(1, 1)))
    site.fitness.stands("engine", "it does not answer")
    narrow.sweep(site).sweep(0.0)
    assert narrow.to_node_published == []
    assert not narrow.ledger.client.exists("onejob:pledges")


def test_a_machine_that_takes_no_jobs_tells_nobody_of_room_that_is_freed(narrow: Rig) -> None:
    gate = Gate("after engine.create")
    site = narrow.site(gate)
    for name in ("a", "b"):
        narrow.submit(name)
    first = narrow.supervising("a", site)
    gate.wait()
    assert narrow.supervise("b", site) is None
    site.fitness.stands("engine", "it does not answer")
    gate.open()
    first.answer()
    assert narrow.fate("a") == ("succeeded", "exit_0")
    assert narrow.to_node_published == []


def test_a_recovery_learns_from_the_containers_what_they_have(narrow: Rig) -> None:
    narrow.script = runs
    narrow.submit("a")
    task = narrow.supervising("a")
    narrow.until_state(State.RUNNING, "a")
    narrow.ledger.recovery.begin([narrow.node])
    narrow.ledger.client.delete(f"onejob:node:{narrow.node}:reserved")
    assert Allegiance(narrow.site()).holds()
    narrow.submit("b")
    assert narrow.ledger.attempts.claim(narrow.uid, "b", narrow.node, 60, narrow.offer).no_room
    narrow.usher("a").finish()
    narrow.lapse("a")
    assert task.answer() is None, "the recovery took it from its holder"
    narrow.supervise("a")
    assert narrow.fate("a") == ("succeeded", "exit_0")


# -- what a machine has ------------------------------------------------------------------------


def settings(tmp_path: Path, **given: Any) -> Settings:
    return Settings(spool_root=tmp_path, **given)


def gpus(folder: Path, *uuids: str) -> Path:
    """What the driver shows under /proc."""
    for n, uuid in enumerate(uuids):
        (folder / f"0000:0{n}:00.0").mkdir(parents=True)
        (folder / f"0000:0{n}:00.0" / "information").write_text(NVIDIA.format(uuid=uuid))
    return folder


def test_a_machine_has_what_its_engine_and_its_driver_say(tmp_path: Path) -> None:
    engine = ScriptedEngine()
    cpus, memory = engine.machine()
    found = capacity(settings(tmp_path), engine, gpus(tmp_path / "gpus", "GPU-a", "GPU-b"))
    assert found == Capacity(cpus, memory // MIB, ("GPU-a", "GPU-b"))
    assert capacity(settings(tmp_path), engine, tmp_path / "nothing").gpus == ()


def test_its_operator_may_say_otherwise(tmp_path: Path) -> None:
    given = settings(tmp_path, node_cpus=1.5, node_memory_mb=512, node_gpus="0, 3,0")
    shown = gpus(tmp_path / "gpus", "GPU-a")
    assert capacity(given, ScriptedEngine(), shown) == Capacity(1.5, 512, ("0", "3"))
    none = settings(tmp_path, node_gpus="none")
    assert capacity(none, ScriptedEngine(), shown).gpus == ()


def test_a_machine_that_is_too_small_says_so() -> None:
    offer = Offer(
        Capacity(2, 4096, ("0",)),
        {
            "fits": ComputeResource(cpus=2, memory_mb=4096, gpus=1),
            "wide": ComputeResource(cpus=2.5),
            "large": ComputeResource(memory_mb=4097),
            "gpus": ComputeResource(gpus=2),
        },
    )
    assert shortages(offer) == [
        f"this machine is too small for compute {name!r}" for name in ("wide", "large", "gpus")
    ]


# -- what the engine is asked for --------------------------------------------------------------


def spec(**changes: Any) -> ContainerSpec:
    members: dict[str, Any] = {
        "name": "onejob-u-1-j",
        "image": "sha256:app",
        "argv": ("/usher",),
        "env": {},
        "labels": {},
        "mounts": (),
        "limits": Limits(1, MIB, 10, (), MIB),
        "network": "none",
        "stop_signal": 15,
        "stop_grace_seconds": 1,
    }
    return ContainerSpec(**(members | changes))


def test_devices_are_asked_for_by_name() -> None:
    limits = Limits(1, MIB, 10, ("GPU-a", "3"), MIB)
    config = create_arguments(spec(limits=limits))["HostConfig"]
    wanted = {"DeviceIDs": ["GPU-a", "3"], "Capabilities": [["gpu"]]}
    assert config["DeviceRequests"] == [wanted]
    assert "DeviceRequests" not in create_arguments(spec())["HostConfig"]


def test_a_runtime_is_asked_for_by_name() -> None:
    assert create_arguments(spec(runtime="runsc"))["HostConfig"]["Runtime"] == "runsc"
    assert "Runtime" not in create_arguments(spec())["HostConfig"]
