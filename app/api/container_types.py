"""/v1/container-types: what there is to run on, in the words of the original's price list."""

import math
from typing import Any

from flask import Blueprint, Response, jsonify, request

from app.api.answers import ContainerTypeOut
from app.api.entries import Parameter, Reply, entry
from app.api.services import compute
from app.domain.compute import ComputeResource
from app.domain.errors import InvalidRequest

blueprint = Blueprint("container_types", __name__, url_prefix="/v1/container-types")
CURRENCIES = ("usd", "eur")
_CURRENCY = Parameter("currency", "query", {"enum": [*CURRENCIES]}, "Of the prices, which are 0.")


@blueprint.get("")
@entry({200: Reply("All of them.", list[ContainerTypeOut])}, parameters=(_CURRENCY,), access="none")
def index() -> Response:
    """One unit of each compute resource. Public: no token is needed, and no price asked."""
    currency = request.args.get("currency", CURRENCIES[0])
    if currency not in CURRENCIES:
        allowed = f"it must be one of {', '.join(CURRENCIES)}"
        raise InvalidRequest(f"currency: {currency[:80]!r} is not allowed; {allowed}")
    known = sorted(compute().items())
    return jsonify([_type_out(name, unit) | {"currency": currency} for name, unit in known])


def _type_out(name: str, unit: ComputeResource) -> dict[str, Any]:
    # Clients read whole numbers; the description is exact.
    return {
        "id": name,
        "model": name,
        "name": name,
        "instance_type": name,
        "cpu": {"description": f"{unit.cpus:g} CPU", "number_of_cores": math.ceil(unit.cpus)},
        "gpu": {"description": f"{unit.gpus} GPU", "number_of_gpus": unit.gpus},
        "gpu_memory": {"description": "", "size_in_gigabytes": 0},  # which nobody tells us
        "memory": {
            "description": f"{unit.memory_mb} MB RAM",
            "size_in_gigabytes": math.ceil(unit.memory_mb / 1024),
        },
        "serverless_price": 0.0,
        "serverless_spot_price": 0.0,
        "manufacturer": "",
    }
