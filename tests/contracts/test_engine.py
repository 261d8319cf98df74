"""One contract for both engines: the one in memory that other tests use, and the real one."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.domain.log import Stream
from tests.contracts.worlds import (
    ENDS,
    LINES,
    POLITE,
    STUBBORN,
    TALKS,
    World,
)
from tests.images import Registry
from workers.engine import (
    DEADLINE_LABEL,
    NODE_LABEL,
    Container,
    Exit,
    ImageError,
    ImageGone,
    Mount,
    NoSuchContainer,
    Phase,
    SpoolMissing,
    StartRefused,
)

UNKNOWN = "f" * 64


def test_an_image_is_the_same_whether_it_is_looked_up_by_tag_or_by_id(world: World) -> None:
    image = world.engine.image(world.ref, refresh=False)
    assert image.id.startswith("sha256:")
    assert image.stop_signal == 15
    assert (*image.entrypoint, *image.cmd)[0] == "python3"


def test_an_image_that_nobody_has_is_an_image_error(world: World) -> None:
    with closing(Registry()) as registry, pytest.raises(ImageError):
        world.engine.image(registry.ref("nobody"), refresh=False)


def undated(container: Container) -> Container:
    """A container without the instant of its creation, which not every verb tells."""
    return replace(container, created_at=None)


def test_a_created_container_has_not_run(world: World) -> None:
    made = world.created()
    assert undated(made) == Container(made.id, world.name(), Phase.CREATED)
    found = world.found()
    assert undated(found) == undated(made)
    assert found.created_at is not None
    assert abs(datetime.now(UTC) - found.created_at) < timedelta(seconds=30)


def test_creating_twice_gives_the_same_container(world: World) -> None:
    assert undated(world.created()) == undated(world.created())


def test_creating_what_runs_already_tells_that_it_runs(world: World) -> None:
    running = world.running()
    again = world.created()
    assert (again.id, again.phase) == (running.id, Phase.RUNNING)


def test_creating_in_many_threads_at_once_makes_one_container(world: World) -> None:
    spec = world.spec()
    with ThreadPoolExecutor(6) as threads:
        made = list(threads.map(lambda _: world.engine.create(spec).id, range(6)))
    assert len(set(made)) == 1
    assert [c.id for c in world.engine.owned(world.node)] == made[:1]


def test_an_unknown_name_is_not_found(world: World) -> None:
    assert world.engine.find(world.name("unknown")) is None


def test_an_id_is_not_a_name(world: World) -> None:
    made = world.created()
    assert world.engine.find(made.id) is None
    assert world.engine.find(made.id[:12]) is None


def test_a_started_container_runs_since_now(world: World) -> None:
    world.running()
    found = world.found()
    assert (found.phase, found.exit) == (Phase.RUNNING, None)
    assert found.started_at is not None
    assert abs(datetime.now(UTC) - found.started_at) < timedelta(seconds=30)


def test_starting_what_runs_already_changes_nothing(world: World) -> None:
    running = world.running()
    before = world.found()
    world.engine.start(running.id)
    assert world.found() == before


def test_an_exit_has_its_code(world: World) -> None:
    world.ended(ENDS)
    found = world.found()
    assert (found.phase, found.exit) == (Phase.EXITED, Exit(3, False))
    assert found.started_at is not None


def test_starting_what_has_exited_runs_it_a_second_time(world: World) -> None:
    ended = world.ended(TALKS)
    world.engine.start(ended.id)
    world.await_exit(ended.id)
    assert world.printed(ended.id) == LINES * 2


def test_an_unknown_id_has_nothing_to_start_and_no_log(world: World) -> None:
    with pytest.raises(NoSuchContainer):
        world.engine.start(UNKNOWN)
    with pytest.raises(NoSuchContainer):
        world.engine.logs(UNKNOWN, 100)


def test_an_unknown_id_is_stopped_killed_and_removed_already(world: World) -> None:
    world.engine.stop(UNKNOWN, 1)
    world.engine.kill(UNKNOWN)
    world.engine.remove(UNKNOWN)


def test_a_stop_lets_a_container_end_by_itself(world: World) -> None:
    running = world.running(POLITE)
    world.engine.stop(running.id, 60)
    assert world.found().exit == Exit(7, False)


def test_a_stop_kills_what_ignores_it_when_the_grace_is_over(world: World) -> None:
    running = world.running(STUBBORN)
    world.engine.stop(running.id, 0.5)
    assert world.found().exit == Exit(137, False)


def test_a_stop_leaves_what_has_ended_or_never_ran_as_it_is(world: World) -> None:
    ended, created = world.ended(ENDS, "ended"), world.created(which="created")
    world.engine.stop(ended.id, 1)
    world.engine.stop(created.id, 1)
    assert world.found("ended").exit == Exit(3, False)
    assert world.found("created").phase is Phase.CREATED


def test_a_wait_ends_with_the_container_and_its_log_is_whole_then(world: World) -> None:
    running = world.running(TALKS)
    world.engine.wait(running.id, 60)
    assert world.found().exit == Exit(0, False)
    assert world.printed(running.id) == LINES


def test_a_wait_is_over_after_its_time(world: World) -> None:
    running = world.running()
    world.engine.wait(running.id, 0.2)
    assert world.found().phase is Phase.RUNNING


def test_a_wait_for_what_never_ran_or_is_gone_ends_at_once(world: World) -> None:
    created = world.created()
    world.engine.wait(created.id, 60)
    world.engine.remove(created.id)
    world.engine.wait(created.id, 60)


def test_a_kill_ends_what_ignores_a_stop(world: World) -> None:
    running = world.running(STUBBORN)
    world.engine.kill(running.id)
    world.await_exit(running.id)
    assert world.found().exit == Exit(137, False)


def test_a_kill_leaves_what_has_ended_or_never_ran_as_it_is(world: World) -> None:
    ended, created = world.ended(ENDS, "ended"), world.created(which="created")
    world.engine.kill(ended.id)
    world.engine.kill(created.id)
    assert world.found("ended").exit == Exit(3, False)
    assert world.found("created").phase is Phase.CREATED


def test_a_removed_container_is_gone_even_while_it_ran(world: World) -> None:
    running = world.running(STUBBORN)
    world.engine.remove(running.id)
    assert world.engine.find(world.name()) is None
    world.engine.remove(running.id)
    assert world.created().id != running.id


def test_removing_in_many_threads_at_once_returns_when_it_is_gone(world: World) -> None:
    running = world.running(STUBBORN)

    def remove(_: int) -> Container | None:
        world.engine.remove(running.id)
        return world.engine.find(world.name())

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(remove, range(4))) == [None] * 4


def test_an_end_has_its_instant(world: World) -> None:
    made = world.running()  # of what ends at once, Docker may note the start after the end
    world.engine.kill(made.id)
    world.await_exit(made.id)
    found = world.found()
    assert found.started_at is not None
    assert found.finished_at is not None
    assert found.started_at <= found.finished_at <= datetime.now(UTC) + timedelta(seconds=1)


def test_owned_tells_the_phases_of_a_nodes_own_containers(world: World) -> None:
    world.created(which="created")
    world.running(which="running")
    world.ended(which="ended")
    stranger = replace(world.spec(which="stranger"), labels={NODE_LABEL: f"{world.node}-other"})
    made = world.engine.create(stranger)
    try:
        phases = {c.name: c.phase for c in world.engine.owned(world.node)}
    finally:
        world.engine.remove(made.id)
    assert phases == {
        world.name("created"): Phase.CREATED,
        world.name("running"): Phase.RUNNING,
        world.name("ended"): Phase.EXITED,
    }


def test_a_log_is_cut_at_its_beginning(world: World) -> None:
    ended = world.ended(TALKS)
    assert world.printed(ended.id, 10) == b"".join(LINES.splitlines(keepends=True)[-10:])
    assert world.printed(ended.id) == LINES
    assert world.engine.logs(ended.id, 0) == []


def test_a_log_tells_instants_and_goes_on_from_one(world: World) -> None:
    before = time.time_ns()
    ended = world.ended(TALKS)
    pieces = world.engine.logs(ended.id, 1000)
    instants = [piece.at for piece in pieces]
    assert instants == sorted(instants)
    assert before < instants[0] < instants[-1] < time.time_ns()
    assert {piece.stream for piece in pieces} == {Stream.STDOUT}
    assert world.engine.logs(ended.id, 1000, instants[200]) == pieces[200:]
    assert world.engine.logs(ended.id, 1000, instants[-1] + 1) == []


def test_what_never_ran_has_an_empty_log(world: World) -> None:
    assert world.engine.logs(world.created().id, 1000) == []


def test_a_bind_source_that_is_missing_makes_no_container(world: World, tmp_path: Path) -> None:
    mount = Mount("bind", str(tmp_path / "gone"), "/spool")
    with pytest.raises(SpoolMissing):
        world.engine.create(replace(world.spec(), mounts=(mount,)))
    assert not (tmp_path / "gone").exists()
    assert world.engine.find(world.name()) is None


def test_a_bind_source_that_went_starts_nothing(world: World, tmp_path: Path) -> None:
    source = tmp_path / "spool"
    source.mkdir()
    spec = replace(world.spec(), mounts=(Mount("bind", str(source), "/spool"),))
    made = world.engine.create(spec)
    source.rmdir()
    with pytest.raises(SpoolMissing):
        world.engine.start(made.id)
    assert not source.exists()
    assert world.found().phase is Phase.CREATED


def test_an_anonymous_volume_goes_with_its_container(world: World) -> None:
    spec = replace(world.spec(), mounts=(Mount("volume", "", "/scratch"),))
    made = world.engine.create(spec)
    (volume,) = world.volumes(made.id)
    assert world.has_volume(volume)
    world.engine.remove(made.id)
    assert not world.has_volume(volume)


def test_a_mount_that_can_not_be_is_refused(world: World) -> None:
    spec = replace(world.spec(), mounts=(Mount("volume", "", "not/absolute"),))
    with pytest.raises(StartRefused):
        world.engine.create(spec)


def test_an_image_that_went_is_told_apart(world: World) -> None:
    with pytest.raises(ImageGone):
        world.engine.create(replace(world.spec(), image=f"sha256:{'0' * 64}"))


def test_the_hosts_own_network_is_never_given(world: World) -> None:
    with pytest.raises(ValueError, match="host"):
        world.engine.ensure_network("host")
    with pytest.raises(ValueError, match="host"):
        world.engine.create(replace(world.spec(), network="host"))


def test_the_engines_own_networks_need_not_be_made(world: World) -> None:
    world.engine.ensure_network("none")
    world.engine.ensure_network("bridge")


def test_its_weaknesses_are_said_in_words(world: World) -> None:
    assert all(isinstance(word, str) for word in world.engine.weaknesses())


def test_a_listing_tells_when_each_was_created_and_how_long_it_may_live(world: World) -> None:
    spec = world.spec()
    world.engine.create(replace(spec, labels={**spec.labels, DEADLINE_LABEL: "90"}))
    (listed,) = world.engine.owned(world.node)
    assert listed.deadline_seconds == 90
    assert listed.created_at is not None
    assert abs(datetime.now(UTC) - listed.created_at) < timedelta(seconds=30)
