"""An engine whose calls are counted and timed, by verb."""

from app.domain.log import Piece
from workers.engine import Container, ContainerSpec, Engine, Image
from workers.images import Login, PulledImage, Watch, unwatched
from workers.tally import Tally


class MeasuredEngine:
    """Passes every verb on; see `workers.engine.Engine`."""

    def __init__(self, engine: Engine, tally: Tally) -> None:
        self._engine = engine
        self._timed = tally.timed

    def image(
        self, ref: str, *, refresh: bool, watch: Watch = unwatched, login: Login | None = None
    ) -> Image:
        """See Engine. The pull in it is a verb of its own, which the engine times."""
        with self._timed("image"):
            return self._engine.image(ref, refresh=refresh, watch=watch, login=login)

    def pulled(self) -> list[PulledImage]:
        """See Engine. It asks nobody."""
        return self._engine.pulled()

    def discard(self, image: PulledImage) -> bool:
        """See Engine."""
        with self._timed("discard"):
            return self._engine.discard(image)

    def fullness(self) -> float | None:
        """See Engine. It asks nobody."""
        return self._engine.fullness()

    def machine(self) -> tuple[float, int]:
        """See Engine."""
        return self._engine.machine()

    def create(self, spec: ContainerSpec) -> Container:
        """See Engine."""
        with self._timed("create"):
            return self._engine.create(spec)

    def start(self, id: str) -> None:
        """See Engine."""
        with self._timed("start"):
            self._engine.start(id)

    def find(self, name: str) -> Container | None:
        """See Engine."""
        with self._timed("find"):
            return self._engine.find(name)

    def stop(self, id: str, seconds: float) -> None:
        """See Engine. It takes as long as the container does."""
        with self._timed("stop"):
            self._engine.stop(id, seconds)

    def kill(self, id: str) -> None:
        """See Engine."""
        with self._timed("kill"):
            self._engine.kill(id)

    def wait(self, id: str, seconds: float) -> None:
        """See Engine. It takes as long as the container does."""
        with self._timed("wait"):
            self._engine.wait(id, seconds)

    def remove(self, id: str) -> None:
        """See Engine."""
        with self._timed("remove"):
            self._engine.remove(id)

    def owned(self, node: str) -> list[Container]:
        """See Engine."""
        with self._timed("owned"):
            return self._engine.owned(node)

    def logs(self, id: str, pieces: int, since: int = 0) -> list[Piece]:
        """See Engine."""
        with self._timed("logs"):
            return self._engine.logs(id, pieces, since)

    def weaknesses(self) -> list[str]:
        """See Engine."""
        return self._engine.weaknesses()

    def ensure_network(self, name: str) -> None:
        """See Engine."""
        self._engine.ensure_network(name)

    def close(self) -> None:
        """See Engine."""
        self._engine.close()
