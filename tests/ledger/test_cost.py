"""What verbs cost does not depend on how many jobs wait: counted in commands, in scripts too."""

from collections.abc import Callable

import pytest
import redis

from app.domain.job import State
from app.ledger import Ledger
from app.ledger.attempts import Grip
from tests.ledger.scene import Scene

# Makes ARGV[2] waiting jobs that are copies of ARGV[3], a job of the deployment ARGV[1].
CROWD = """
local uid, count, seed = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local prefix, fields = 'onejob:deployment:' .. uid, redis.call('HGETALL',
  'onejob:job:' .. uid .. ':' .. seed)
for i = 1, count do
  local id, key = 'w' .. i, 'onejob:job:' .. uid .. ':w' .. i
  local seq = redis.call('HINCRBY', prefix, 'seq', 1)
  redis.call('HSET', key, unpack(fields))
  redis.call('HSET', key, 'id', id, 'seq', seq)
  redis.call('ZADD', prefix .. ':queue', seq, id)
  redis.call('ZADD', prefix .. ':jobs', seq, id)
  redis.call('ZADD', 'onejob:due:ttl', 4000000000 + i, uid .. '/' .. id)
end
"""


def counted(client: redis.Redis, act: Callable[[], object]) -> dict[str, int]:
    client.config_resetstat()
    act()
    stats = client.info("commandstats")
    assert isinstance(stats, dict)
    ours = {name: entry["calls"] for name, entry in stats.items() if "config" not in name}
    return {name.removeprefix("cmdstat_"): calls for name, calls in ours.items()}


def _costs(ledger: Ledger, waiting: int) -> dict[str, dict[str, int]]:
    scene = Scene(ledger, f"dep{waiting}", cap=3)
    grips = [scene.started(name) for name in ("a", "b")]
    scene.submit("dispatched")
    scene.submit("seed")
    ledger.client.eval(CROWD, 0, scene.uid, waiting, "seed")
    assert ledger.client.zcard(f"onejob:deployment:{scene.uid}:queue") == waiting + 1
    costs = {
        "accept": counted(ledger.client, lambda: scene.submit("new")),
        "view": counted(ledger.client, lambda: ledger.jobs.view(scene.uid, "new")),
        "page": counted(ledger.client, lambda: ledger.jobs.page(scene.uid, 5)),
        "page of waiting": counted(ledger.client, lambda: _page(ledger, scene, State.QUEUED)),
        "page of running": counted(ledger.client, lambda: _page(ledger, scene, State.STARTING)),
        "page of ended": counted(ledger.client, lambda: _page(ledger, scene, State.FAILED)),
        "change": counted(ledger.client, lambda: scene.patch(cap=3, ttl=7)),
        "claim": counted(ledger.client, lambda: scene.claim("dispatched")),
        "finish": counted(ledger.client, lambda: scene.finish(grips[0])),
        "release": counted(ledger.client, lambda: ledger.attempts.release(grips[0])),
        "requeue": counted(ledger.client, lambda: scene.requeue(grips[1])),
        "cancel queued": counted(ledger.client, lambda: scene.cancel("w2")),
        "cancel dispatched": counted(ledger.client, lambda: scene.cancel("b")),
        "renew": counted(
            ledger.client, lambda: ledger.attempts.renew("n", 9, [Grip("u", "j", 1, 1)])
        ),
        "expire": counted(ledger.client, lambda: ledger.jobs.expire_due()),
        "due hints": counted(ledger.client, lambda: ledger.jobs.due_hints("cpu", "q", 5)),
    }
    assert scene.state("seed").value == "dispatched"
    return costs


def _page(ledger: Ledger, scene: Scene, state: State) -> None:
    ledger.jobs.page(scene.uid, 5, states=[state])


def test_every_verb_costs_the_same_with_10_and_with_20000_waiting_jobs(ledger: Ledger) -> None:
    _costs(ledger, 9)  # every script is loaded
    few = _costs(ledger, 10)
    many = _costs(ledger, 20_000)
    assert many == few
    assert max(sum(cost.values()) for cost in few.values()) < 60


@pytest.mark.parametrize("verb", ["accept", "claim", "finish", "release"])
def test_a_step_of_a_job_is_one_call(ledger: Ledger, verb: str) -> None:
    _costs(ledger, 9)
    assert _costs(ledger, 10)[verb]["evalsha"] == 1
