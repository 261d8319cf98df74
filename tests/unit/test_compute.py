"""The operator's compute file: what it may say, and that all of its errors are told at once."""

import pytest

from app.domain.compute import ComputeError, ComputeResource, parse_resources


@pytest.mark.parametrize("text", ["", "\n", "# only a comment\n"])
def test_an_empty_file_means_one_resource(text: str) -> None:
    assert parse_resources(text) == {"cpu": ComputeResource(cpus=1, memory_mb=2048)}


def test_a_file_names_resources() -> None:
    text = """
        [small]
        cpus = 0.5
        memory_mb = 8
        ["Tesla V100"]
        cpus = 6
        memory_mb = 24000
        gpus = 1
        network = "none"
        runtime = "nvidia"
        labels = { team = "vision" }
        [empty]
    """
    assert parse_resources(text) == {
        "small": ComputeResource(cpus=0.5, memory_mb=8, gpus=0, network="own"),
        "Tesla V100": ComputeResource(
            cpus=6,
            memory_mb=24000,
            gpus=1,
            network="none",
            runtime="nvidia",
            labels={"team": "vision"},
        ),
        "empty": ComputeResource(),
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[cpu", "not TOML"),
        ("[cpu]\n[cpu]", "not TOML"),
        ("cpu = 1", "'cpu'"),
        ("[cpu]\ncpus = 0", "'cpu': cpus: "),
        ("[cpu]\ncpus = nan", "'cpu': cpus: "),
        ("[cpu]\ncpus = inf", "'cpu': cpus: "),
        ("[cpu]\ncpus = -1", "'cpu': cpus: "),
        ("[cpu]\nmemory_mb = 7", "'cpu': memory_mb: "),
        ("[cpu]\nmemory_mb = 1.5", "'cpu': memory_mb: "),
        (f"[cpu]\nmemory_mb = {10**30}", "'cpu': memory_mb: "),
        ("[cpu]\ngpus = 65", "'cpu': gpus: "),
        ('[cpu]\nnetwork = "host"', "'cpu': network: "),
        ('[cpu]\nruntime = ""', "'cpu': runtime: "),
        ("[cpu]\nlabels = 1", "'cpu': labels: "),
        ('[cpu]\nlabels = { "onejob.node" = "x" }', "'cpu': labels: "),
        ('[cpu]\nlabels = { "com.docker.x" = "x" }', "'cpu': labels: "),
        ("[cpu]\nmemory = 1", "'cpu': memory: "),
        ("[cpu.more]\ncpus = 1", "'cpu': more: "),
        ('[""]\n', "''"),
        (f"[{'x' * 65}]\n", "1 to 64 printable"),
        ('["a\\nb"]\n', "1 to 64 printable"),
    ],
)
def test_what_is_wrong_is_named(text: str, words: str) -> None:
    with pytest.raises(ComputeError) as error:
        parse_resources(text)
    assert words in str(error.value)


def test_all_errors_are_told_at_once() -> None:
    text = '[a]\ncpus = 0\ngpus = -1\n[b]\nnetwork = "x"\n["c\\n"]\n'
    with pytest.raises(ComputeError) as error:
        parse_resources(text)
    assert len(str(error.value).splitlines()) == 4
