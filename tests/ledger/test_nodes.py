"""Nodes: who gave a sign of life, and what it offers."""

from app.domain.compute import ComputeResource
from app.ledger import Ledger

CPU = {"cpus": 2.0, "memory_mb": 4096, "gpus": 0, "network": "own"}
GPU = {"cpus": 6.0, "memory_mb": 24000, "gpus": 1, "network": "none"}


def test_nothing_is_alive_at_first(ledger: Ledger) -> None:
    assert ledger.nodes.alive() == []
    assert ledger.nodes.compute() == {}


def test_what_a_node_offers_is_known_from_its_sign_of_life(ledger: Ledger) -> None:
    ledger.nodes.announce("n1", {"compute": {"cpu": CPU}})
    ledger.nodes.announce("n2", {"compute": {"cpu": CPU, "Tesla V100": GPU}})
    ledger.nodes.announce("n3", {})
    assert len(ledger.nodes.alive()) == 3
    assert ledger.nodes.compute() == {
        "cpu": ComputeResource(cpus=2, memory_mb=4096),
        "Tesla V100": ComputeResource(cpus=6, memory_mb=24000, gpus=1, network="none"),
    }


def test_the_nodes_that_are_alive_and_have_a_compute_resource(ledger: Ledger) -> None:
    ledger.nodes.announce("silent", {"compute": {"gpu": GPU}})
    ledger.client.zadd("onejob:nodes", {"silent": 1})
    ledger.nodes.announce("n1", {"compute": {"cpu": CPU}})
    ledger.nodes.announce("n2", {"compute": {"cpu": CPU, "gpu": GPU}})
    ledger.nodes.announce("n3", {})
    assert sorted(ledger.nodes.offering("cpu")) == ["n1", "n2"]
    assert ledger.nodes.offering("gpu") == ["n2"]


def test_the_last_word_of_a_node_counts(ledger: Ledger) -> None:
    ledger.nodes.announce("n1", {"compute": {"cpu": CPU}})
    ledger.nodes.announce("n1", {"compute": {"gpu": GPU}})
    assert list(ledger.nodes.compute()) == ["gpu"]


def test_a_silent_node_offers_nothing_until_it_is_heard_of_again(ledger: Ledger) -> None:
    ledger.nodes.announce("n1", {"compute": {"cpu": CPU}})
    seconds, _ = ledger.client.time()
    ledger.client.zadd("onejob:nodes", {"n1": seconds - 20})
    assert ledger.nodes.alive() == []
    ledger.nodes.announce("n1", {"compute": {"cpu": CPU}})
    assert list(ledger.nodes.compute()) == ["cpu"]


def test_what_the_workers_of_one_node_say_is_put_together(ledger: Ledger) -> None:
    """Whoever spoke last does not speak for the others: the node takes jobs if one of them does."""
    fit = {"compute": {"cpu": CPU}, "problems": [], "notes": ["live-restore is off"]}
    unfit = {"compute": {"gpu": GPU}, "problems": ["disk full"], "notes": ["live-restore is off"]}
    for first, second in ((fit, unfit), (unfit, fit)):
        ledger.nodes.announce("n1", first, process="one")
        ledger.nodes.announce("n1", second, process="two")
        (info,) = ledger.nodes.alive()
        assert info["compute"] == {"cpu": CPU, "gpu": GPU}
        assert info["problems"] == []
        paused = "not all of its workers take jobs: disk full"
        assert info["notes"] == ["live-restore is off", paused]
    ledger.nodes.announce("n1", unfit, process="one")
    ledger.nodes.announce("n1", unfit, process="two")
    (info,) = ledger.nodes.alive()
    assert (info["problems"], info["notes"]) == (["disk full"], ["live-restore is off"])


def test_what_a_worker_said_that_is_gone_is_said_no_more(ledger: Ledger) -> None:
    ledger.nodes.announce("n1", {"compute": {"gpu": GPU}}, process="gone")
    ledger.client.hset("onejob:node:n1", "at:gone", "1")
    ledger.nodes.announce("n1", {"compute": {"cpu": CPU}}, process="here")
    assert list(ledger.nodes.compute()) == ["cpu"]
    assert len(ledger.client.hkeys("onejob:node:n1")) == 3  # type: ignore[arg-type]
