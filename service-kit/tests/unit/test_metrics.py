"""Metrics whose series nobody outside can multiply (X-S4)."""

from prometheus_client import generate_latest

from service_kit.metrics import HttpMetrics, kit_metrics, new_registry


def test_service_says_that_it_is_up():
    """Every registry starts with the service, its uptime and its process."""
    registry = new_registry("job-service")

    assert registry.get_sample_value("service_up", {"service": "job-service"}) == 1
    assert registry.get_sample_value("service_uptime_seconds", {"service": "job-service"}) >= 0
    assert registry.get_sample_value("process_resident_memory_bytes") > 0


def test_registries_are_apart():
    """Two services in one process (as in tests) do not share a series."""
    one, other = new_registry("a"), new_registry("b")
    kit_metrics(one).server.finished("/p.S/M", "OK", 0.1)

    labels = {"grpc_service": "p.S", "grpc_method": "M", "grpc_code": "OK"}
    assert kit_metrics(one) is kit_metrics(one)
    assert one.get_sample_value("grpc_server_handled_total", labels) == 1
    assert other.get_sample_value("grpc_server_handled_total", labels) is None


def test_calls_under_way_can_be_told():
    """What began and is not handled is under way."""
    registry = new_registry("a")
    calls = kit_metrics(registry).client
    for _ in range(3):
        calls.started("/p.S/M")
    calls.finished("/p.S/M", "OK", 0.1)

    labels = {"grpc_service": "p.S", "grpc_method": "M"}
    handled = registry.get_sample_value("grpc_client_handled_total", labels | {"grpc_code": "OK"})
    assert registry.get_sample_value("grpc_client_started_total", labels) - handled == 2


def test_clients_make_no_series():
    """X-S4: unknown methods and unmatched paths all count as _OTHER."""
    registry = new_registry("gateway")
    metrics = HttpMetrics(registry)
    metrics.finished("GET", "/jobs/{job_id}", 200, 0.01)
    before = len(generate_latest(registry).splitlines())
    metrics.finished("BREW", None, 404, 0.01)
    once = len(generate_latest(registry).splitlines())
    for number in range(1000):
        metrics.finished(f"METHOD{number}", None, 404, 0.01)

    assert once > before
    assert len(generate_latest(registry).splitlines()) == once
