"""What compose/monitoring says, and a real Prometheus that works by it."""

import json
import os
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from app.children import Child
from tests.compose.commands import COMPOSE
from tests.conftest import require
from tests.ports import free_port

FOLDER = COMPOSE / "monitoring"
DASHBOARD = FOLDER / "grafana" / "dashboards" / "onejob.json"
READY_SECONDS = 60
ANSWER_SECONDS = 30


def alerts() -> dict[str, dict[str, Any]]:
    """Every alert rule, by its name."""
    groups = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    return {rule["alert"]: rule for rule in rules}


def dashboard() -> dict[str, Any]:
    """The dashboard."""
    read: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return read


def panel_expressions() -> list[str]:
    """What the dashboard's panels ask for."""
    return [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]


def own_names(expression: str) -> set[str]:
    """The names of our series in an expression."""
    return set(re.findall(r"onejob_\w+", expression))


def tool(name: str) -> str:
    """A program of Prometheus's."""
    path = shutil.which(name)
    require(path, f"{name} is not installed")
    return str(path)


class Prometheus:
    """A Prometheus with our configuration, in which only the targets are others."""

    def __init__(self, folder: Path, targets: dict[str, str]) -> None:
        """`targets` are addresses by job name; a job without one is left out."""
        self.port = free_port()
        self._instant: float | None = None
        config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
        config["rule_files"] = [str(FOLDER / name) for name in config["rule_files"]]
        targets = targets | {"prometheus": f"127.0.0.1:{self.port}"}
        jobs = [job for job in config["scrape_configs"] if job["job_name"] in targets]
        for job in jobs:
            job.pop("dns_sd_configs", None)
            job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
        config["scrape_configs"] = jobs
        path = folder / "prometheus.yml"
        path.write_text(yaml.safe_dump(config))
        argv = [tool("prometheus"), f"--config.file={path}", f"--storage.tsdb.path={folder / 'db'}"]
        argv.append(f"--web.listen-address=127.0.0.1:{self.port}")
        self._child = Child("prometheus", argv, folder / "prometheus.log", os.environ)

    def until_ready(self) -> None:
        """Waits until it works."""
        self._child.until(self._ready, READY_SECONDS)

    def until(self, query: str, seconds: float = READY_SECONDS) -> None:
        """Waits until a query has an answer."""
        self._child.until(lambda: bool(self._ask(query)), seconds)

    def stand_still(self, query: str) -> None:
        """Waits until a query has an answer; from then on all are answered as of that instant.

        A later scrape may fail on a busy machine, and nothing would be there until the next one.
        """

        def seen() -> bool:
            found = self._ask(query)
            self._instant = found[0]["value"][0] if found else None
            return bool(found)

        self._child.until(seen, READY_SECONDS)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an expression. Raises HTTPError with the reason in it."""
        return self._ask(expression, self._instant)

    def _ask(self, query: str, instant: float | None = None) -> list[dict[str, Any]]:
        at = {} if instant is None else {"time": str(instant)}
        answer = self.get("query?" + urllib.parse.urlencode({"query": query, **at}))
        found: list[dict[str, Any]] = answer["result"]
        return found

    def get(self, path: str) -> Any:
        """What an API call gives."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}"
        try:
            with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path}: {error.read().decode()}") from error

    def stop(self) -> None:
        """Ends it."""
        self._child.stop()

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=2):
                return True
        except OSError:
            return False
