"""/v1/container-types: public, in the words of the original's price list."""

import pytest

from app.ledger import Ledger
from tests.api.faces import Faces
from tests.api.wire import call


def test_each_resource_of_the_file_and_of_live_workers(api: Faces, ledger: Ledger) -> None:
    offer = {"V100": {"cpus": 5.5, "memory_mb": 24_000, "gpus": 2, "labels": {"team": "vision"}}}
    ledger.nodes.announce("node", {"compute": offer})
    answer = call(api.port, "GET", "/v1/container-types")  # no token
    assert answer.status == 200
    gpu, cpu = answer.json
    assert gpu == {
        "id": "V100",
        "model": "V100",
        "name": "V100",
        "instance_type": "V100",
        "cpu": {"description": "5.5 CPU", "number_of_cores": 6},
        "gpu": {"description": "2 GPU", "number_of_gpus": 2},
        "gpu_memory": {"description": "", "size_in_gigabytes": 0},
        "memory": {"description": "24000 MB RAM", "size_in_gigabytes": 24},
        "serverless_price": 0.0,
        "serverless_spot_price": 0.0,
        "manufacturer": "",
        "currency": "usd",
    }
    assert (cpu["name"], cpu["cpu"]["number_of_cores"]) == ("cpu", 1)
    assert isinstance(cpu["cpu"]["number_of_cores"], int)  # a Go client takes no other


@pytest.mark.parametrize("currency", ["usd", "eur"])
def test_the_currency_is_the_one_asked_for(api: Faces, currency: str) -> None:
    (cpu,) = call(api.port, "GET", f"/v1/container-types/?currency={currency}").json
    assert cpu["currency"] == currency


@pytest.mark.parametrize("currency", ["", "USD", "btc", "x" * 5000])
def test_another_currency_is_refused(api: Faces, currency: str) -> None:
    answer = call(api.port, "GET", f"/v1/container-types?currency={currency}")
    assert (answer.status, answer.json["code"]) == (400, "invalid_request")
    assert "usd, eur" in answer.json["message"]
    assert len(answer.json["message"]) < 300
