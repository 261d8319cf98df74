"""Very many replicas at once: what each costs on our side, and how far behind its status is.

Each job's request tells its app how long to run. Behind is: from the usher's word that the request
was sent to the ledger's; and from the end of that time to the ledger's final state, which has the
app's own exit in it.
"""

from pathlib import Path
from statistics import median

from app.domain.job import JobView
from tests.bench import memory, setting
from tests.bench.plan import MEMORY_LIMIT_MIB, Plan
from tests.bench.product import Product
from tests.bench.report import Row, Section
from tests.bench.stats import quantile

NAME = "crowd"


def measure(plan: Plan, folder: Path) -> Section:
    """One instance, one wave of jobs."""
    section, jobs = Section(NAME), plan.crowd
    setting.prepare()
    with Product(folder, concurrency=jobs + 10) as product:
        uid = product.deploy(memory.NAME, jobs)
        idle, busy, apart, ids = memory.wave(product, jobs)
        views = [product.ledger.jobs.view(uid, job_id) for job_id in ids]
    sent = sorted(_sent_behind(view) for view in views)
    over = sorted(_end_behind(view, memory.seconds_of(jobs)) for view in views)
    section.samples = {"idle": idle, "running": busy, "apart": apart, "sent": sent, "over": over}
    side = sum((busy[name] - idle[name]) / jobs for name in ("api", "worker"))
    about = f"{jobs} replicas at once"
    section.rows = [
        Row(f"API and worker, {about}", "MiB/job", side, at_most=MEMORY_LIMIT_MIB),
        Row(f"status behind the request's sending, {about}", "ms (median)", median(sent)),
        Row(f"status behind the request's sending, {about}", "ms (p99)", quantile(sent, 0.99)),
        Row(f"status behind the app's end, {about}", "ms (median)", median(over)),
        Row(f"status behind the app's end, {about}", "ms (p99)", quantile(over, 0.99)),
    ]
    return section


def _sent_behind(view: JobView) -> float:
    assert view.job.sent_at is not None
    told = next(entry.at for entry in view.timeline if entry.event == "sent")
    return (told - view.job.sent_at).total_seconds() * 1000


def _end_behind(view: JobView, seconds: float) -> float:
    assert view.job.sent_at is not None
    assert view.job.finished_at is not None
    return ((view.job.finished_at - view.job.sent_at).total_seconds() - seconds) * 1000
