"""compose/worker.yaml beside a project, as if on another machine: all is its own but Redis."""

from pathlib import Path

import docker

from tests.compose.commands import DISK, WORKER_FILE, run
from tests.compose.project import IMAGE, Project

COMPUTE = "[far]\ncpus = 1\nmemory_mb = 256\n"


class SecondMachine:
    """A machine with nothing but a worker and its firewall, which offers the resource `far`."""

    def __init__(self, command: list[str], project: Project, folder: Path) -> None:
        self.name, self.bridge = f"{project.name}-2", f"{project.bridge}b"
        self.spool = folder / "spool"
        secrets = folder / "secrets"
        secrets.mkdir(mode=0o700)
        # Not `exec api`: there may be no container of number 1 any more, which 1.29 wants.
        files = [f"/run/onejob/{name}" for name in ("redis_password", "secrets_key")]
        shown = ["run", "--rm", "-T", "--entrypoint", "cat", "credentials", *files]
        password, key = project.compose(*shown).split()
        (secrets / "redis_url").write_text(f"redis://:{password}@{project.redis_address}/0")
        (secrets / "secrets_key").write_text(key)
        (folder / "compute.toml").write_text(COMPUTE)
        settings = {
            "WORKER_SECRETS": str(secrets),
            "ONEJOB_COMPUTE_FILE": str(folder / "compute.toml"),
            "ONEJOB_SPOOL_ROOT": str(self.spool),
            "ONEJOB_NETWORK": self.name,
            "REPLICA_BRIDGE": self.bridge,
            "ONEJOB_IMAGE": IMAGE,
            "DOCKER_ROOT": str(engine_root()),
        }
        env = folder / "env"
        env.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        self._command = [*command, "-f", str(WORKER_FILE), "-f", str(DISK)]
        self._command += ["--env-file", str(env), "-p", self.name]

    @property
    def node(self) -> str:
        """The id of its node."""
        return (self.spool / "node").read_text()

    def compose(self, *arguments: str) -> str:
        """What docker-compose says on its standard output; it must succeed."""
        done = run(self._command, *arguments)
        assert done.returncode == 0, f"{arguments}: {done}"
        return done.stdout

    def logs(self) -> str:
        """What its services said last."""
        return run(self._command, "logs", "--no-color", "--tail=30").stdout


def engine_root() -> Path:
    """Where the engine keeps its images."""
    client = docker.APIClient()
    root = Path(client.info()["DockerRootDir"])
    client.close()
    return root
