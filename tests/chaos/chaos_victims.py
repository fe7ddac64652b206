"""Which replica has work at this moment, by what each says of itself in its metrics."""

from __future__ import annotations

import asyncio
import http.client
from collections import defaultdict
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

from weir_local.stack import Stack

# service -> the calls that stand for its work, each as (side, method).
CALLS_THAT_ARE_WORK = {
    "job-service": ("client", "Execute"),
    "compute-router": ("server", "Execute"),
}


async def work_of(stack: Stack, service: str, index: int) -> int:
    """Return how many executions a replica of job-service, the router or the worker holds."""
    samples = await samples_of(stack, service, index)
    if service == "gpu-worker":
        return int(sum(samples["worker_slots_busy"].values()))
    return calls_under_way(samples, *CALLS_THAT_ARE_WORK[service])


def calls_under_way(
    samples: dict[str, dict[tuple[tuple[str, str], ...], float]], side: str, method: str
) -> int:
    """Return how many calls of a gRPC method have begun and not ended."""

    def count(name: str) -> float:
        found = samples[f"grpc_{side}_{name}_total"].items()
        return sum(value for labels, value in found if dict(labels)["grpc_method"] == method)

    return int(count("started") - count("handled"))


async def samples_of(
    stack: Stack, service: str, index: int = 0
) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Return a process's metrics: name -> labels -> value; nothing where it does not answer."""
    url = stack.service_url(service, index)
    text = await asyncio.to_thread(_read, url)
    samples: dict[str, dict[tuple[tuple[str, str], ...], float]] = defaultdict(dict)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples[sample.name][tuple(sorted(sample.labels.items()))] = sample.value
    return samples


def _read(url: str) -> str:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=2)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()
