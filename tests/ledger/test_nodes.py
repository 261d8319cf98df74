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
