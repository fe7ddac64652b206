"""The GPU's name, where there is one."""

import pynvml
import pytest

from gpu_worker.adapters.nvml_device import find_gpu_name


def failing(*args):
    raise pynvml.NVMLError(pynvml.NVML_ERROR_UNINITIALIZED)


def test_machine_without_driver(monkeypatch):
    """No driver is a state, not a failure."""
    monkeypatch.setattr(pynvml, "nvmlInit", failing)

    assert find_gpu_name() is None


@pytest.mark.parametrize("name", ["NVIDIA GeForce RTX 3060", b"NVIDIA GeForce RTX 3060"])
def test_machine_with_gpu(monkeypatch, name):
    """Old drivers give bytes."""
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlShutdown", failing)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: 1)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda index: index)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetName", lambda handle: name)

    assert find_gpu_name() == "NVIDIA GeForce RTX 3060"


def test_gpu_that_was_lost(monkeypatch):
    """A GPU that fails to answer is none."""
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", failing)

    assert find_gpu_name() is None
