"""The kinds of jobs in the load: what their app does, and the only ends that are true for each.

A job's id says its kind: `<anything>.<kind>`. All deployments run the same app.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from app.domain.job import Reason, State

DEADLINE_SECONDS = 14  # the longest work takes 4, its start on a busy machine up to 10
WITNESS = "witness"  # the name of the witness's socket in an app's spool directory

# In the language of tests/usher/app.py. First the app tells its witness that it runs, since when,
# and each request that comes: also a second one, which must never come.
LINES = f"""
import hashlib, queue, threading

def age():
    ticks = int(open('/proc/self/stat').read().rsplit(')', 1)[1].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf('SC_CLK_TCK')

def tell(*words):
    witness.sendall((' '.join(map(str, words)) + '\\n').encode())

def serve(server, jobs):
    while True:
        conn, _ = server.accept()
        head, _, body = read_head(conn).partition(b'\\r\\n\\r\\n')
        if head.startswith(b'GET /health'):
            conn.sendall(OK)
            conn.close()
            continue
        size = int(head.lower().split(b'content-length:')[1].split(b'\\r\\n')[0])
        while len(body) < size and (more := conn.recv(1 << 20)):
            body += more
        tell('request', hashlib.sha256(body).hexdigest())
        jobs.put((conn, body))

witness, path = socket.socket(socket.AF_UNIX), '/.onejob/spool/{WITNESS}'
while not os.path.exists(path): time.sleep(0.005)
witness.connect(path)
names = ('JOB_DEPLOYMENT', 'JOB_ID', 'JOB_ATTEMPT')
tell('start', *(os.environ[name] for name in names), time.time() - age())

kind = os.environ['JOB_ID'].rsplit('.', 1)[1]
if kind == 'slow': time.sleep(1.5)
if kind == 'crash': sys.exit(4)
if kind == 'stubborn': on(signal.SIGTERM, signal.SIG_IGN)
jobs = queue.SimpleQueue()
threading.Thread(target=serve, args=(listen(), jobs), daemon=True).start()
conn, body = jobs.get()
if kind == 'work': time.sleep(1 + 3 * body[0] / 255)
if kind in ('late', 'stubborn', 'cancelled'): forever()
status = b'500 Broken' if kind == 'fail' else b'200 OK'
reply = body[::-1] * (2 if kind == 'big' else 1)
conn.sendall(b'HTTP/1.1 %s\\r\\nContent-Length: %d\\r\\n\\r\\n%s' % (status, len(reply), reply))
sys.exit(3 if kind == 'fail' else 0)
"""


@dataclass(frozen=True)
class End:
    """How a job may end, and the HTTP status of its result then."""

    state: State
    reason: Reason
    http: int
    exit_codes: frozenset[int | None]


@dataclass(frozen=True)
class Kind:
    """What is true of all jobs of a kind."""

    name: str
    weight: int  # how often it comes, beside the others'
    ends: tuple[End, ...]
    answers: bool = False  # its app answers
    sizes: tuple[int, int] = (1, 3000)  # bytes of the request's body

    def body(self, random: Random) -> bytes:
        """The body of another request."""
        return random.randbytes(random.randint(*self.sizes))

    def answer(self, body: bytes) -> bytes:
        """The body that the app answers with."""
        return body[::-1] * (2 if self.name == "big" else 1)

    def end(self, status: Mapping[str, object]) -> End | None:
        """Which of its ends a status tells; None if that can't be true."""
        told = (status["State"], status["Reason"])
        return next((e for e in self.ends if (e.state, e.reason) == told), None)


# 2: of the runtime's own process, where the stop came before the usher's first instruction.
_ANY = frozenset[int | None]({None, 143, 137, 2})
_OK = End(State.SUCCEEDED, Reason.EXIT_0, 200, frozenset({0}))
_BROKEN = End(State.FAILED, Reason.EXIT_NONZERO, 500, frozenset({3}))
_CRASHED = End(State.FAILED, Reason.EXITED_BEFORE_REQUEST, 502, frozenset({4}))
_CANCELLED = End(State.CANCELLED, Reason.CANCELLED, 410, _ANY)
_TERMINATED = End(State.TIMED_OUT, Reason.DEADLINE, 504, frozenset({143}))
_KILLED = End(State.TIMED_OUT, Reason.DEADLINE, 504, frozenset({137}))

KINDS = (
    Kind("instant", 6, (_OK,), answers=True),
    Kind("work", 10, (_OK,), answers=True),  # 1 to 4 s
    Kind("slow", 3, (_OK,), answers=True),  # 1.5 s until it is healthy
    Kind("big", 2, (_OK,), answers=True, sizes=(1_000_000, 2_500_000)),
    Kind("fail", 2, (_BROKEN,), answers=True),
    Kind("crash", 1, (_CRASHED,)),
    Kind("late", 1, (_TERMINATED,)),  # works on until the deadline
    Kind("stubborn", 1, (_KILLED,)),  # and does not heed the stop signal
    # Would be late. While nobody is there to heed the cancel, the deadline may come first.
    Kind("cancelled", 3, (_CANCELLED, _TERMINATED)),
)
