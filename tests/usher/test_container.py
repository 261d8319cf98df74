"""The usher where it belongs: process 1 of a container, whose image holds nothing but one program.

The image is made from scratch: no shell, no library, no user database. The container is made as the
worker makes it, the strictest way: read-only root, no network, no capabilities, not root.
"""

import io
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from secrets import token_hex

import docker
import pytest
from docker.models.containers import Container
from docker.types import Mount

from tests.conftest import require
from tests.usher.conftest import HERE
from tests.usher.replica import PATIENCE_SECONDS, Replica

pytestmark = pytest.mark.docker

USHER, SPOOL = "/.onejob/usher", "/.onejob/spool"
MACHINES = {"x86_64": 62, "aarch64": 183}  # of ELF headers
PORT = 8080
EPERM, EACCES, EROFS, ENOENT = 1, 13, 30, 2


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    made = docker.from_env()
    yield made
    made.close()


def image_tar(program: Path) -> bytes:
    """A root directory with one program and a folder to work in."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        folder = tarfile.TarInfo("srv")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(folder)
        tar.add(program, "tiny", filter=lambda entry: entry.replace(mode=0o755, deep=False))
    return file.getvalue()


@pytest.fixture(scope="module")
def image(client: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    require(shutil.which("musl-gcc"), "no musl compiler: apt-get install musl-tools")
    program = tmp_path_factory.mktemp("image") / "tiny"
    command = ["musl-gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-O1", "-static"]
    subprocess.run([*command, "-o", program, HERE / "tiny.c"], check=True)
    tag = f"onejob-usher-test:{token_hex(4)}"
    changes = ["USER 1000:1000", "WORKDIR /srv", 'ENTRYPOINT ["/tiny"]', 'CMD ["serve", "7"]']
    repository, _, version = tag.partition(":")
    client.api.import_image_from_data(image_tar(program), repository, version, changes)
    yield tag
    client.images.remove(tag, force=True)


class Job:
    """What the worker does: a spool, a container, its events."""

    def __init__(self, client: docker.DockerClient, usher: Path, image: str, folder: Path) -> None:
        self.client, self.image = client, image
        self.files = Replica(usher, folder)
        self.files.spool.chmod(0o777)
        (self.files.spool / "events").chmod(0o666)
        self.container: Container | None = None

    def start(self, command: Sequence[str] = (), *, memory: str = "64m",
              **plan: object) -> Container:  # fmt: skip
        """Starts the command, or the image's own."""
        config = self.client.images.get(self.image).attrs["Config"]
        self.files.write_plan(port=PORT, health_port=PORT, **plan)
        self.files.write_command(*(command or [*config["Entrypoint"], *config["Cmd"]]))
        self.container = self.client.containers.create(
            self.image,
            entrypoint=[USHER, SPOOL],
            environment={"PORT": str(PORT)},
            mounts=[
                Mount(USHER, str(self.files.usher), type="bind", read_only=True),
                Mount(SPOOL, str(self.files.spool), type="bind"),
            ],
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            read_only=True,
            network_mode="none",
            mem_limit=memory,
            memswap_limit=memory,
            pids_limit=64,
        )
        self.container.start()
        return self.container

    def run(self, command: Sequence[str] = (), *, memory: str = "64m", **plan: object) -> int:
        """Runs it to its end; the container's exit code."""
        self.start(command, memory=memory, **plan)
        return self.wait()

    def wait(self) -> int:
        assert self.container is not None
        return int(self.container.wait(timeout=PATIENCE_SECONDS)["StatusCode"])

    def lines(self) -> list[tuple[str, str]]:
        """The answer of the app."""
        found = (line.partition("=") for line in self.files.body().decode().splitlines())
        return [(key, value) for key, _, value in found]

    def runs(self) -> int:
        return (self.files.spool / "runs").read_text().count("run\n")

    def logs(self) -> str:
        assert self.container is not None
        return str(self.container.logs().decode())

    def close(self) -> None:
        self.files.close()
        if self.container is not None:
            self.container.remove(force=True, v=True)


@pytest.fixture
def new_job(
    client: docker.DockerClient, shipped: Path, image: str, tmp_path: Path
) -> Iterator[Callable[[], Job]]:
    made: list[Job] = []

    def make() -> Job:
        made.append(Job(client, shipped, image, tmp_path / str(len(made))))
        return made[-1]

    yield make
    for job in made:
        job.close()


@pytest.fixture
def job(new_job: Callable[[], Job]) -> Job:
    return new_job()


ALL_WELL = ["started", "healthy", "sent", "responded", "exited"]


def test_it_is_built_for_the_engines_architecture(
    client: docker.DockerClient, shipped: Path
) -> None:
    machine = int.from_bytes(shipped.read_bytes()[18:20], "little")
    assert machine == MACHINES[client.info()["Architecture"]]


def test_the_images_own_command_runs_as_its_user_in_its_folder_with_nothing_around(
    job: Job,
) -> None:
    assert job.run() == 7, job.logs()
    assert job.files.names() == ALL_WELL
    told = job.lines()
    assert [v for k, v in told if k == "argument"] == ["/tiny", "serve", "7"]
    assert [v for k, v in told if k == "interface"] == ["    lo"]
    facts = dict(told)
    assert (facts["uid"], facts["gid"], facts["cwd"]) == ("1000", "1000", "/srv")
    assert facts["pid_of_parent"] == "1"
    assert facts["write_root"] == str(EROFS)
    assert facts["shell"] == str(ENOENT)
    assert facts["deadline"] == "told"


def test_overrides_run_instead_of_the_images_command(job: Job) -> None:
    assert job.run(["/tiny", "serve", "9", "a b", ""]) == 9, job.logs()
    arguments = [v for k, v in job.lines() if k == "argument"]
    assert arguments == ["/tiny", "serve", "9", "a b", ""]


def test_what_the_worker_has_to_know_is_left_in_the_spool(job: Job) -> None:
    assert job.run() == 7
    exited = job.files.values("exited")
    assert exited["code"] == "7"
    assert exited["oom_kills"] == "0"
    assert 0 < int(exited["memory_peak"]) <= 64 * 2**20
    assert (job.files.spool / "response.head").stat().st_uid == 1000


def test_an_exited_container_that_is_started_again_does_not_run_again(job: Job) -> None:
    job.run()
    before = job.files.events()
    assert job.container is not None
    job.container.start()
    assert job.wait() == 125
    assert job.files.events()[:-1] == before
    assert job.files.names()[-1] == "refused"
    assert job.runs() == 1
    assert "does not run again" in job.logs()


def test_process_1_can_neither_be_traced_nor_killed_by_the_app(job: Job) -> None:
    assert job.run(["/tiny", "probe", "3"]) == 3, job.logs()
    assert job.files.names() == ALL_WELL
    facts = dict(job.lines())
    assert facts["uid"] == "1000"
    attacks = ("attach", "seize", "read_memory")
    assert {name: facts[name] for name in attacks} == dict.fromkeys(attacks, str(EPERM))
    looks = ("open_memory", "open_files", "read_environment")
    assert {name: facts[name] for name in looks} == dict.fromkeys(looks, str(EACCES))


def test_an_app_that_takes_too_much_memory_is_told_as_such(job: Job) -> None:
    assert job.run(["/tiny", "eat"], memory="32m") == 128 + 9
    exited = job.files.values("exited")
    assert exited["signal"] == "9"
    assert int(exited["oom_kills"]) >= 1
    assert 30 * 2**20 < int(exited["memory_peak"]) <= 32 * 2**20
    assert job.files.values("response_failed")["why"] == "closed"


def test_a_large_response_is_kept_whole(job: Job) -> None:
    assert job.run(["/tiny", "stream", "128"]) == 0
    assert job.files.values("responded") == {"status": "200", "bytes": str(128 << 20)}
    assert (job.files.spool / "response.body").stat().st_size == 128 << 20


def test_stopping_the_container_ends_the_job(job: Job) -> None:
    container = job.start(["/tiny", "wait"])
    job.files.until_event("responded")
    container.stop(timeout=20)
    assert job.wait() == 128 + 15
    assert job.files.values("stopping") == {"why": "signal", "health": "healthy"}
    assert job.files.names() == [*ALL_WELL[:-1], "stopping", "exited"]
    assert job.files.values("exited")["signal"] == "15"


def test_the_deadline_holds_without_anyone_outside(job: Job) -> None:
    assert job.run(["/tiny", "wait"], deadline_ms=1500) == 128 + 15
    assert job.files.values("stopping")["why"] == "deadline"


def test_a_command_that_is_not_in_the_image(job: Job) -> None:
    assert job.run(["/bin/sh", "-c", "true"]) == 127
    assert job.files.names() == ["exec_failed", "exited"]
    assert "cannot execute /bin/sh: No such file" in job.logs()
