"""A llama.cpp server over HTTP, which stands in for Yotta's cloud on this machine.

    YOTTA_ADDRESS=127.0.0.1:9000 YOTTA_API_KEY_FILE=key python -m weir_local.yotta

What answers is llama.cpp's own OpenAI-compatible server: `/v1/chat/completions`,
`/v1/completions`, `/v1/models`, and `/health` once the model is loaded.
"""

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Self

from weir_local import installed

MODEL = "smollm2-135m-instruct"
SLOTS = 2
CONTEXT_TOKENS = 2048
MOST_THREADS = 2
_ERRORS_ONLY = 1


@dataclass(frozen=True, slots=True)
class Options:
    """What the environment says."""

    host: str
    port: int
    api_key: str
    threads: int

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Read `YOTTA_ADDRESS`, `YOTTA_API_KEY_FILE` and, if it is there, `YOTTA_THREADS`."""
        host, _, port = environment["YOTTA_ADDRESS"].rpartition(":")
        api_key = Path(environment["YOTTA_API_KEY_FILE"]).read_text().strip()
        threads = environment.get("YOTTA_THREADS") or min(MOST_THREADS, os.cpu_count() or 1)
        return cls(host, int(port), api_key, int(threads))


def serve(options: Options) -> Any:
    """Load the model and answer requests in threads of llama.cpp's; return the server.

    Raises:
        RuntimeError: The port is taken, or the model can't be loaded.
    """
    import xllamacpp  # here, so that the launcher may know this module without the wheel

    params = xllamacpp.CommonParams()
    params.model.path = str(installed.model_file())
    params.model_alias = {MODEL}
    params.hostnames = [options.host]
    params.port = options.port
    params.api_keys = [options.api_key]
    params.n_parallel = SLOTS
    params.n_ctx = SLOTS * CONTEXT_TOKENS
    params.cache_ram_mib = 0
    params.cpuparams.n_threads = options.threads
    params.cpuparams_batch.n_threads = options.threads
    params.endpoint_slots = False
    params.ui = False
    params.verbosity = _ERRORS_ONLY
    return xllamacpp.Server(params)


def main() -> NoReturn:
    """Serve until a signal comes."""
    server = serve(Options.read(os.environ))
    print(f"{MODEL} is served at {server.listening_address}", flush=True)
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
