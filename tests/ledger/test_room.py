"""A machine takes no more than it has: reservations, the line for room, and whole devices."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.compute import Capacity, ComputeResource, Offer
from app.domain.job import Reason, State
from app.ledger import Ledger
from app.ledger.attempts import Claimed, Grip
from tests.ledger.scene import NODE, Scene, check_places, ids

QUEUE = f"node.{NODE}"
UNITS = {
    "cpu": ComputeResource(cpus=1, memory_mb=100),
    "gpu": ComputeResource(cpus=1, memory_mb=100, gpus=1),
}


def machine(cpus: float, memory_mb: int = 10_000, gpus: tuple[str, ...] = ()) -> Offer:
    return Offer(Capacity(cpus, memory_mb, gpus), UNITS)


def sized(ledger: Ledger, size: int, compute: str = "cpu", cap: int = 50) -> Scene:
    """A deployment whose jobs need so many units."""
    name = f"{compute}-{size}".lower().replace(":", "-of-")
    return Scene(ledger, name=name, cap=cap, compute=compute, size=size)


def fill(ledger: Ledger, offer: Offer, node: str = NODE) -> list[str]:
    return ids(ledger.attempts.fill_room(node, f"node.{node}", offer)[1])


def claims(scene: Scene, names: str, offer: Offer, node: str = NODE) -> str:
    """Those of the jobs that were given to the node."""
    return "".join(name for name in names if scene.claim(name, node, offer).job)


def submit(scene: Scene, names: str) -> None:
    for name in names:
        scene.submit(name)


def end(scene: Scene, job_id: str) -> None:
    scene.end(Grip.of(scene.job(job_id)))


@pytest.mark.parametrize(
    "offer", [machine(4), machine(99, memory_mb=499), machine(4.9)], ids=["cpus", "memory", "parts"]
)
def test_a_machine_takes_no_more_than_it_has(ledger: Ledger, offer: Offer) -> None:
    scene = sized(ledger, 2)
    submit(scene, "abc")
    assert claims(scene, "abc", offer) == "ab"
    assert scene.claim("c", NODE, offer) == Claimed(None, [], no_room=True)
    assert scene.state("c") is State.DISPATCHED
    check_places(scene)


def test_a_replica_that_is_gone_makes_room_for_the_next_in_line(ledger: Ledger) -> None:
    scene, offer = sized(ledger, 1), machine(2)
    submit(scene, "abcd")
    assert claims(scene, "abdc", offer) == "ab"
    assert fill(ledger, offer) == []
    end(scene, "a")
    assert fill(ledger, offer) == ["c"], "by the order of dispatch, not of the tries"
    assert claims(scene, "dc", offer) == "c"
    end(scene, "b")
    end(scene, "c")
    assert claims(scene, "d", offer) == "d"
    check_places(scene)


def test_an_attempt_that_is_queued_again_gives_its_room_back(ledger: Ledger) -> None:
    scene, offer = sized(ledger, 1), machine(1)
    submit(scene, "ab")
    assert claims(scene, "ab", offer) == "a"
    grip = Grip.of(scene.job("a"))
    scene.ledger.attempts.abandon(grip, Reason.ENGINE_LOST, "the engine failed", counts=False)
    assert claims(scene, "b", offer) == "", "its container may still be there"
    scene.ledger.attempts.requeue(grip)
    assert claims(scene, "b", offer) == "b"


def test_small_jobs_do_not_starve_a_big_one(ledger: Ledger) -> None:
    small, big, offer = sized(ledger, 1), sized(ledger, 4), machine(4)
    submit(small, "abcd")
    assert claims(small, "abcd", offer) == "abcd"
    submit(big, "B")
    submit(small, "efgh")
    assert claims(big, "B", offer) == ""
    for gone in "abc":
        end(small, gone)
        assert claims(small, "efgh", offer) == "", "the room is kept for the big one"
    end(small, "d")
    assert fill(ledger, offer) == ["B"]
    assert claims(big, "B", offer) == "B"
    end(big, "B")
    assert sorted(fill(ledger, offer)) == ["e", "f", "g", "h"]


def test_one_machine_keeps_room_and_the_others_go_on(ledger: Ledger) -> None:
    small, big, offer = sized(ledger, 1), sized(ledger, 2), machine(2)
    submit(small, "ab")
    assert claims(small, "a", offer, "one") + claims(small, "b", offer, "two") == "ab"
    submit(big, "B")
    assert claims(big, "B", offer, "one") == ""
    submit(small, "c")
    assert claims(small, "c", offer, "one") == ""
    assert claims(small, "c", offer, "two") == "c"
    end(small, "a")
    assert claims(big, "B", offer, "one") == "B"


def test_a_machine_that_has_room_takes_what_another_keeps_room_for(ledger: Ledger) -> None:
    small, big, offer = sized(ledger, 1), sized(ledger, 2), machine(2)
    submit(small, "a")
    submit(big, "B")
    claims(small, "a", offer, "one")
    assert claims(big, "B", offer, "one") == ""
    assert claims(big, "B", offer, "two") == "B"
    submit(small, "c")
    assert claims(small, "c", offer, "one") == "c", "nothing is kept for it any more"


def test_a_pledge_of_a_machine_that_looks_no_more_holds_nobody_up(ledger: Ledger) -> None:
    small, big, offer = sized(ledger, 1), sized(ledger, 2), machine(2)
    submit(small, "ab")
    claims(small, "a", offer, "gone")
    submit(big, "B")
    assert claims(big, "B", offer, "gone") == ""
    ref = big.ref("B")
    big.redis.hset("onejob:pledges", ref, f"gone {1_000_000_000.0:.6f}")
    assert claims(small, "b", offer, "two") == "b"
    assert claims(big, "B", offer, "two") == ""
    submit(small, "c")
    assert claims(small, "c", offer, "two") == "", "it is two's to keep room for it now"


def test_what_a_machine_can_never_hold_waits_for_a_bigger_one(ledger: Ledger) -> None:
    small, big = sized(ledger, 1), sized(ledger, 8)
    submit(big, "B")
    submit(small, "a")
    assert claims(big, "B", machine(2), "laptop") == ""
    assert claims(small, "a", machine(2), "laptop") == "a", "no room is kept for it"
    assert fill(ledger, machine(2), "laptop") == []
    assert fill(ledger, machine(8), "server") == ["B"]
    assert claims(big, "B", machine(8), "server") == "B"


def test_gpus_are_whole_devices_and_given_once(ledger: Ledger) -> None:
    scene, offer = sized(ledger, 2, "gpu"), machine(99, gpus=("g0", "g1", "g2", "g3", "g4"))
    submit(scene, "abc")
    assert claims(scene, "abc", offer) == "ab"
    assert [scene.job(name).gpus for name in "ab"] == [("g0", "g1"), ("g2", "g3")]
    end(scene, "a")
    assert claims(scene, "c", offer) == "c"
    assert scene.job("c").gpus == ("g0", "g1")


def test_a_machine_without_gpus_gets_no_job_for_them(ledger: Ledger) -> None:
    scene = sized(ledger, 1, "gpu")
    submit(scene, "a")
    assert claims(scene, "a", machine(99)) == ""
    assert claims(scene, "a", machine(99, gpus=("g0",)), "other") == "a"


def test_a_lost_machine_that_is_back_keeps_the_room_of_what_it_may_still_run(
    ledger: Ledger,
) -> None:
    scene, offer = sized(ledger, 1, "gpu"), machine(99, gpus=("g0",))
    submit(scene, "ab")
    assert claims(scene, "a", offer) == "a"
    scene.redis.zadd("onejob:nodes", {NODE: 1.0})
    ledger.nodes.lose(NODE, 60, 10, free_slots=False)
    assert scene.state("a") is State.FAILED
    assert claims(scene, "b", offer) == ""
    (stray,) = ledger.nodes.strays(NODE)
    ledger.nodes.drop_stray(NODE, stray, "gone")
    assert claims(scene, "b", offer) == "b"


@pytest.mark.parametrize("how", ["cancel", "expire", "delete"])
def test_who_ends_in_line_is_in_nobodys_way(ledger: Ledger, how: str) -> None:
    small, big, offer = sized(ledger, 1), sized(ledger, 2), machine(2)
    submit(small, "a")
    claims(small, "a", offer)
    submit(big, "B")
    submit(small, "b")
    assert claims(big, "B", offer) + claims(small, "b", offer) == ""
    if how == "cancel":
        big.cancel("B")
    elif how == "expire":
        big.outlive_ttl("B")
        ledger.jobs.expire_due()
    else:
        ledger.deployments.terminate(big.deployment.name)
        ledger.deployments.shrink(big.uid)
    assert claims(small, "b", offer) == "b"
    assert not big.redis.keys("onejob:no_room*")
    assert not big.redis.exists("onejob:pledges")


def test_hints_that_were_not_taken_yet_are_not_given_again(ledger: Ledger) -> None:
    scene, offer = sized(ledger, 1), machine(1)
    submit(scene, "ab")
    claims(scene, "ab", offer)
    end(scene, "a")
    scene.redis.lpush(QUEUE, "a hint that nobody took")
    assert ledger.attempts.fill_room(NODE, QUEUE, offer) == (True, [])
    scene.redis.delete(QUEUE)
    assert fill(ledger, offer) == ["b"]


def test_reservations_go_with_their_attempts(ledger: Ledger) -> None:
    scene, offer = sized(ledger, 1), machine(2)
    submit(scene, "ab")
    claims(scene, "ab", offer)
    assert scene.redis.hlen(f"onejob:node:{NODE}:reserved") == 2
    end(scene, "a")
    end(scene, "b")
    assert ledger.attempts.fill_room(NODE, QUEUE, offer) == (False, [])
    assert not scene.redis.exists(f"onejob:node:{NODE}:reserved")


def test_a_claim_that_is_sent_twice_reserves_once(stuttering: Ledger) -> None:
    scene, offer = sized(stuttering, 1), machine(2)
    submit(scene, "ab")
    assert claims(scene, "ab", offer) == "ab"


def test_a_resource_named_like_another_and_a_size_has_its_own_line(ledger: Ledger) -> None:
    units = {name: ComputeResource(cpus=1, memory_mb=100) for name in ("H100", "H100:2")}
    offer = Offer(Capacity(2, 10_000), units)
    big, other = sized(ledger, 2, "H100"), sized(ledger, 1, "H100:2")
    submit(other, "a")
    assert claims(other, "a", offer) == "a"
    submit(big, "B")
    assert claims(big, "B", offer) == "", "now one of size 2 is in line"
    submit(other, "b")
    assert claims(other, "b", offer) == "", "the room is kept"
    end(other, "a")
    assert fill(ledger, offer) == ["B"]


def test_who_stands_in_line_gets_no_further_hints(ledger: Ledger) -> None:
    scene, offer = sized(ledger, 1), machine(1)
    submit(scene, "abc")
    claims(scene, "ab", offer)
    scene.redis.zadd("onejob:due:hints:cpu", {scene.ref(name): 1.0 for name in "bc"}, xx=True)
    hints = ledger.jobs.due_hints("cpu", "compute.cpu", 5)
    assert ids(hints) == ["c"], "nobody has looked at c yet"


jobs_to_come = st.lists(
    st.tuples(st.sampled_from(["cpu", "gpu"]), st.integers(1, 4)), min_size=1, max_size=12
)


@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # it is emptied here
)
@given(jobs=jobs_to_come, data=st.data())
def test_whatever_comes_and_goes_nothing_is_given_twice_and_all_get_their_turn(
    ledger: Ledger, jobs: list[tuple[str, int]], data: st.DataObject
) -> None:
    ledger.client.flushall()
    offers = {"one": machine(4, gpus=("a", "b", "c", "d")), "two": machine(5, gpus=("e", "f"))}
    scenes = {kind: sized(ledger, kind[1], kind[0]) for kind in set(jobs)}
    for n, kind in enumerate(jobs):
        scenes[kind].submit(f"j{n}")
    waiting = {f"j{n}": kind for n, kind in enumerate(jobs)}
    running: dict[str, tuple[str, tuple[str, int]]] = {}
    while waiting or running:
        name = data.draw(st.sampled_from(sorted(waiting | running)))
        node = data.draw(st.sampled_from(["one", "two"]))
        if name in running:
            _, kind = running.pop(name)
            end(scenes[kind], name)
        elif scenes[waiting[name]].claim(name, node, offers[node]).job:
            running[name] = (node, waiting.pop(name))
        elif not running:  # on empty machines there is room for the first in line
            turns = [(n, node) for node in offers for n in fill(ledger, offers[node], node)]
            first, node = turns[0]
            assert scenes[waiting[first]].claim(first, node, offers[node]).job
            running[first] = (node, waiting.pop(first))
        _check_room(scenes, running, offers)


def _check_room(
    scenes: dict[tuple[str, int], Scene],
    running: dict[str, tuple[str, tuple[str, int]]],
    offers: dict[str, Offer],
) -> None:
    for node, offer in offers.items():
        here = [(name, kind) for name, (at, kind) in running.items() if at == node]
        assert sum(kind[1] for _, kind in here) <= offer.capacity.cpus
        devices = [gpu for name, kind in here for gpu in scenes[kind].job(name).gpus]
        assert len(devices) == len(set(devices)) == sum(k[1] for _, k in here if k[0] == "gpu")
        assert set(devices) <= set(offer.capacity.gpus)
