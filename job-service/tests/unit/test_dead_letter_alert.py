"""What an operator's alert for dead letters stands on."""

from job_fakes import World
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from job_service.adapters.prometheus_metrics import PrometheusJobMetrics
from job_service.usecases.measure_depths import MeasureDepths


async def test_death_is_told_as_a_warning():
    """With what is needed to find it, and nothing of what it said."""
    with capture_logs() as lines:
        job = await World().dead_letter()

    (told,) = [line for line in lines if line["event"] == "job.dead_lettered"]
    assert told == {
        "event": "job.dead_lettered",
        "log_level": "warning",
        "job_id": job.id,
        "project_id": "p1",
        "type": "generation_v2",
        "admission": 1,
        "attempt": 1,
        "reason": "EXECUTION_FAILED",
    }


async def test_dead_letters_and_decisions_are_counted():
    """The gauge counts those that wait; the counters those that were decided about."""
    world, registry = World(), CollectorRegistry()
    metrics = PrometheusJobMetrics(registry)
    for _ in range(3):
        await world.dead_letter()
    await MeasureDepths(world.store, metrics)()
    metrics.retried("dead_letter")
    metrics.purged()

    assert registry.get_sample_value("job_dead_letters") == 3
    assert registry.get_sample_value("jobs_retried_total", {"state": "dead_letter"}) == 1
    assert registry.get_sample_value("dead_letters_purged_total") == 1
