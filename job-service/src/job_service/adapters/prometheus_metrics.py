"""What is counted about jobs. Labels come from known sets: kinds, states, configured targets."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from job_service.domain.job_state import FINAL_STATES, JobState
from job_service.usecases.job_ports import Depths


class PrometheusJobMetrics:
    """The ports `JobMetrics` and `FeedMetrics`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._jobs = Counter(
            "jobs_total", "Jobs that came to a state.", ["kind", "state"], registry=registry
        )
        self._retried = Counter(
            "jobs_retried_total",
            "Jobs that a person retried or redrove, by how they had ended.",
            ["state"],
            registry=registry,
        )
        self._purged = Counter(
            "dead_letters_purged_total",
            "Dead letters whose content a person removed.",
            registry=registry,
        )
        self._executed = Counter(
            "compute_jobs_total",
            "Attempts that ran, by the target that ran them.",
            ["target"],
            registry=registry,
        )
        self._lease_lost = Counter(
            "lease_lost_total",
            "Attempts that were discarded because their lease was somebody else's.",
            registry=registry,
        )
        self._deltas_failed = Counter(
            "job_deltas_failed_total",
            "Attempts whose last deltas a bug kept from being written; they ended all the same.",
            registry=registry,
        )
        self._usage_excess = Counter(
            "job_usage_excess_total",
            "Jobs that cost more than their hold; the excess is ours.",
            registry=registry,
        )
        self._refused = Counter(
            "settlement_refused_total",
            "Settlements that cost-service refused; they are tried again, slowly.",
            registry=registry,
        )
        self._results_refused = Counter(
            "result_signature_refused_total",
            "Results whose worker's statement was wrong, or not signed with its key.",
            registry=registry,
        )
        self._orphans = Counter(
            "orphan_holds_total",
            "Holds found without a live job, and voided.",
            registry=registry,
        )
        self._queue = Gauge(
            "job_queue_depth", "Jobs that are not finished.", ["state"], registry=registry
        )
        self._dead_letters = Gauge(
            "job_dead_letters",
            "Dead letters that nobody has redriven or purged.",
            registry=registry,
        )
        self._feeds = Gauge("job_feeds", "Jobs whose events are watched here.", registry=registry)
        self._readers = Gauge("job_feed_readers", "Readers of those.", registry=registry)
        self._gaps = Counter(
            "job_feed_gaps_total", "Gaps that readers were told of.", registry=registry
        )
        self._outbox = Gauge(
            "settlement_outbox_depth", "Settlements that are not sent.", registry=registry
        )

    def job_changed(self, kind: str, state: str) -> None:
        self._jobs.labels(str(kind), str(state)).inc()

    def retried(self, state: str) -> None:
        self._retried.labels(str(state)).inc()

    def purged(self) -> None:
        self._purged.inc()

    def executed(self, target: str) -> None:
        self._executed.labels(target).inc()

    def lease_lost(self) -> None:
        self._lease_lost.inc()

    def deltas_failed(self) -> None:
        self._deltas_failed.inc()

    def usage_excess(self) -> None:
        self._usage_excess.inc()

    def settlement_refused(self) -> None:
        self._refused.inc()

    def result_refused(self) -> None:
        self._results_refused.inc()

    def orphan_hold(self) -> None:
        self._orphans.inc()

    def watched(self, jobs: int, readers: int) -> None:
        self._feeds.set(jobs)
        self._readers.set(readers)

    def gap_told(self) -> None:
        self._gaps.inc()

    def depths(self, depths: Depths) -> None:
        for state in JobState:
            if state not in FINAL_STATES:
                self._queue.labels(state.value).set(depths.by_state.get(state.value, 0))
        self._outbox.set(depths.unsent_settlements)
        self._dead_letters.set(depths.dead_letters)
