"""A full disk, or a bound on the size of files: nothing is told that is not so."""

from tests.usher.replica import Replica

HEAD = "b'HTTP/1.1 200 OK\\r\\n"


def test_a_response_that_finds_no_room_on_the_disk_is_told_as_such(
    replica: Replica, as_root: None
) -> None:
    """Even where the app has filled the disk to the last byte, the end is told."""
    spool, kept = replica.spool, replica.folder / "kept"
    small = (
        'cp -a "$0" "$1" && mount -t tmpfs -o size=300k tmpfs "$0" && cp -a "$1"/. "$0" || exit 99;'
        'spool=$0 kept=$1; shift; "$@"; code=$?; cp "$spool"/* "$kept"; exit $code'
    )
    lines = (
        "c = take_job()\n"
        f"file = open({str(spool / 'filler')!r}, 'wb', 0)\n"
        "try:\n    while True: file.write(b'x' * 100)\n"
        "except OSError: pass\n"
        f"c.sendall({HEAD}Content-Length: 50000\\r\\n\\r\\n' + b'x' * 50000); sys.exit(4)\n"
    )
    replica.write_app(lines)
    replica.start(before=("unshare", "--mount", "sh", "-c", small, str(spool), str(kept)))
    assert replica.wait() == 4, replica.log()
    replica.spool = kept
    assert replica.names() == ["started", "healthy", "sent", "response_failed", "exited"]
    assert replica.values("response_failed") == {"why": "io", "errno": "28"}
    assert replica.nothing_stored()


def test_a_response_over_the_bound_on_files_is_told_as_such(replica: Replica) -> None:
    replica.write_app(f"c = take_job(); c.sendall({HEAD}\\r\\n' + b'x' * 100_000); sys.exit(4)")
    replica.start(before=("prlimit", "--fsize=50000"))
    assert replica.wait() == 4
    assert replica.values("response_failed") == {"why": "io", "errno": "27"}
    assert replica.nothing_stored()


def test_what_can_not_be_noted_as_sent_is_not_sent(replica: Replica) -> None:
    """Nor does half a line stay behind, where there is room for that."""
    lines = (
        "on(signal.SIGTERM, signal.SIG_IGN)\n"
        "s = listen(); answer_health(s); c, _ = s.accept(); say('connected')\n"
        "os._exit(8 if c.recv(1) else 9)\n"
    )
    replica.write_app(lines)
    replica.start(before=("prlimit", "--fsize=10"))
    replica.said_exists("connected")
    replica.signal(15)
    assert replica.wait() == 9
    assert replica.names() == []
