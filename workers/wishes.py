"""What was asked for an attempt, beside running it: a cancel, a stop, another attempt."""

from app.domain.job import Reason
from workers.attempt import Attempt
from workers.recipe import Hopeless
from workers.roster import Attention
from workers.site import Site

STOPPED_DETAIL = "the server was stopped while the job was running"
CANCEL_DETAILS = {Reason.DEPLOYMENT_DELETED: "its deployment was deleted"}


class Wishes:
    """What a client, an operator and the deployment want for one attempt."""

    def __init__(self, site: Site, attempt: Attempt, attention: Attention) -> None:
        self._site = site
        self._attempt = attempt
        self._attention = attention
        self.leaving = False  # this worker stops, and its replicas with it

    @property
    def cancel(self) -> Reason | None:
        """The reason of a cancel that was asked for."""
        return self._attention.cancel or self._attempt.job.cancel

    @property
    def end(self) -> Reason | None:
        """The reason for ending a replica that would go on."""
        return self.cancel or (Reason.CANCELLED if self.leaving else None)

    def sentence(self, otherwise: str) -> str:
        """Why it was ended, for a person."""
        if self.cancel is None:
            return STOPPED_DETAIL
        return CANCEL_DETAILS.get(self.cancel, otherwise)

    @property
    def another_if_unsent(self) -> bool:
        """Whether another attempt may follow one whose request was not sent."""
        return self._attempt.job.attempt < self._site.settings.max_attempts

    def another_after(self, reason: Reason) -> bool:
        """Whether the deployment wants another attempt after such an end."""
        if self.end is not None:
            return False
        try:
            policy = self._attempt.recipe.run.spec.retry_policy
        except Hopeless:
            return False
        if policy is None or reason not in policy.on:
            return False
        return self._attempt.job.attempt < policy.max_attempts
