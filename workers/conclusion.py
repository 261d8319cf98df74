"""How an attempt comes to its end: the outcome, and whether another attempt follows."""

from dataclasses import replace

from app.domain.job import Reason, State
from app.domain.verdict import Outcome, Stopping, judge
from workers import ends, harvest
from workers.attempt import Attempt
from workers.wishes import Wishes

UNSENT_DETAIL = "the server was stopped before the request was sent"
OUTSIDE_DETAIL = "the replica was ended from outside before the request was sent"
VANISHED_DETAIL = "the replica vanished from the engine before the job was over"


class Conclusion:
    """The end of one attempt, by what is there and by what was wished for."""

    def __init__(self, attempt: Attempt, wishes: Wishes) -> None:
        self._attempt = attempt
        self._wishes = wishes
        self.ended_by: Stopping | None = None  # what we did, where the usher can't say it

    def finish(self) -> None:
        """Judges an attempt that has ended, and keeps its response. Raises Hopeless."""
        attempt, seen, wishes = self._attempt, self._attempt.events(), self._wishes
        if wishes.cancel and ends.never_began(attempt):
            self.cancel_unstarted()
            return
        if wishes.another_if_unsent and attempt.provably_unsent() and self._gave_up_unsent():
            return
        container = attempt.container
        attempt.note_unseen()
        ending = harvest.ending(seen, container.exit if container else None, wishes.end)
        ending = replace(ending, cancel_detail=wishes.sentence(ending.cancel_detail))
        if seen.exited is None:  # it was killed with its usher
            killed = self.ended_by or ends.outlived(attempt)
            ending = replace(ending, stopping=killed or ending.stopping)
        if ending.exit_code != 0:
            ending = replace(ending, last_line=attempt.last_line())
        wanted = ending.responded and attempt.job.prefer != "respond-async-proxy"
        stored = attempt.keep_response() if wanted else None
        if wanted and stored is None:
            ending = replace(ending, responded=False, response_failure="malformed")
        fields = harvest.exit_fields(ending, seen.exited) | (stored.fields() if stored else {})
        self.end(judge(ending, attempt.recipe.run.bounds), fields)

    def _gave_up_unsent(self) -> bool:
        """Whether it was ended by something else than its app and its job: another may follow."""
        seen, wishes = self._attempt.events(), self._wishes
        if wishes.leaving and (self.ended_by is not None or seen.stopping == "signal"):
            self._attempt.abandon(Reason.CANCELLED, UNSENT_DETAIL)
        elif not (wishes.end or self.ended_by) and ends.ended_from_outside(self._attempt):
            self._attempt.abandon(Reason.ENGINE_LOST, OUTSIDE_DETAIL)
        else:
            return False
        return True

    def end(self, outcome: Outcome, fields: dict[str, str | int] | None = None) -> None:
        """Ends the job so, or this attempt alone where the deployment wants another one then."""
        if self._wishes.another_after(outcome.reason):
            self._attempt.abandon(outcome.reason, outcome.detail)
        else:
            self._attempt.end(outcome, fields)

    def lose(self) -> None:
        """The container or its spool vanished. Again if the request was provably not sent."""
        unsent = self._attempt.provably_unsent()
        if unsent and self._wishes.cancel:
            self.cancel_unstarted()
        elif unsent and self._wishes.another_if_unsent:
            self._attempt.abandon(Reason.ENGINE_LOST, VANISHED_DETAIL)
        else:
            self.end(Outcome(State.FAILED, Reason.ENGINE_LOST, VANISHED_DETAIL))

    def cancel_unstarted(self) -> None:
        """Ends the job of an attempt that never ran: its cancel was asked for."""
        reason = self._wishes.cancel or Reason.CANCELLED
        self._attempt.end(Outcome(State.CANCELLED, reason, "cancelled before it started"))
