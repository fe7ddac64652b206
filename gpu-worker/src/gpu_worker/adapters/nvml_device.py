"""The GPU's name, by NVML; a machine without one is as good."""

from __future__ import annotations

import pynvml


def find_gpu_name() -> str | None:
    """Return the first GPU's name, or `None` where there is no GPU or no driver."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        if pynvml.nvmlDeviceGetCount() == 0:
            return None
        name = pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(0))
    except pynvml.NVMLError:
        return None
    finally:
        _shut_down()
    return name.decode() if isinstance(name, bytes) else str(name)


def _shut_down() -> None:
    try:
        pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        # Lost between the two calls: there is nothing left to release.
        return
