"""What an attempt is made from: deployment, compute resource, request."""

from collections.abc import Iterator

from app.domain.compute import ComputeResource
from app.domain.deployment import Deployment
from app.domain.errors import NotFound
from app.domain.job import Job, Reason, State
from app.domain.verdict import Outcome
from workers import harvest, plan
from workers.engine import EngineTrouble
from workers.site import Site


class Hopeless(Exception):
    """What the attempt is made from is gone for good; carries how the job ends."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.detail)
        self.outcome = outcome


class Recipe:
    """What one attempt of a job is made from; looked up when it is asked for first."""

    def __init__(self, site: Site, job: Job) -> None:
        self.site = site
        self.job = job
        self._spec: Deployment | None = None
        self._run: plan.Run | None = None

    @property
    def spec(self) -> Deployment:
        """The deployment's, in the job's version. Raises Hopeless."""
        if self._spec is None:
            try:
                self._spec = self.site.ledger.deployments.spec(self.job.uid, self.job.version)
            except NotFound as error:  # it goes with its deployment
                detail = f"its deployment was deleted: {error.message}"
                outcome = Outcome(State.CANCELLED, Reason.DEPLOYMENT_DELETED, detail)
                raise Hopeless(outcome) from error
        return self._spec

    @property
    def run(self) -> plan.Run:
        """All of it but the request.

        Raises Hopeless; EngineTrouble if this node can't make it.
        """
        if self._run is None:
            self._run = plan.Run(
                self.job, self.spec, self._compute(), self.site.node, self.site.settings
            )
        return self._run

    def request(self) -> Iterator[bytes]:
        """The request as the usher sends it. Raises Hopeless, also half-way."""
        port = self.run.container.exposed_port
        try:
            yield from harvest.request_bytes(self.job, self.site.ledger.payloads, port)
        except NotFound as error:
            detail = f"the replica could not start: {error.message}"
            raise Hopeless(Outcome(State.FAILED, Reason.START_FAILED, detail)) from error

    def _compute(self) -> ComputeResource:
        known = self.site.compute.get(self.job.compute)
        if known is None and self.job.started_at is None:
            raise EngineTrouble(f"this node no longer has the compute {self.job.compute!r}")
        size = self.spec.compute.size
        if (
            known is not None
            and not self.job.started_at
            and len(self.job.gpus) != known.gpus * size
        ):
            # A recovery can't tell them of what had no container yet, nor could older versions.
            raise EngineTrouble("which devices it was given is not known any more")
        return known or ComputeResource()  # of a job that runs it is only told what it had
