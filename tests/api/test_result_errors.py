"""/status and /result for what is not there."""

import pytest

from tests.api.faces import Faces


@pytest.mark.parametrize("route", ["status", "result"])
def test_the_id_is_needed(api: Faces, hello: str, route: str) -> None:
    answer = api.data("GET", f"/{route}/hello")
    assert (answer.status, answer.json["code"]) == (400, "invalid_request")
    assert "X-Inference-Id" in answer.json["message"]


@pytest.mark.parametrize("route", ["status", "result"])
@pytest.mark.parametrize("name", ["hello", "unknown", "%ff", "%00", "v1", "hello%20"])
def test_what_is_unknown_is_404(api: Faces, hello: str, route: str, name: str) -> None:
    answer = api.data("GET", f"/{route}/{name}", [("X-Inference-Id", "unknown")])
    assert (answer.status, answer.json["code"]) == (404, "not_found")
    assert answer.all("X-Inference-Id") == (["unknown"] if route == "result" else [])


def test_a_deployment_made_again_knows_no_old_job(api: Faces, hello: str) -> None:
    api.submit("hello", X_Inference_Id="one")
    assert api.control("DELETE", "/job-deployments/hello").json["status"] == "deleted"
    api.deploy("hello")
    assert api.status("hello", "one").status == 404
    assert api.data("PUT", "/hello/new", [("X-Inference-Id", "one")]).status == 202


@pytest.mark.parametrize("route", ["status", "result"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_other_methods_are_405(api: Faces, hello: str, route: str, method: str) -> None:
    answer = api.data(method, f"/{route}/hello", body=b"x")
    assert (answer.status, answer.json["code"]) == (405, "method_not_allowed")
    assert "GET" in answer["Allow"]
