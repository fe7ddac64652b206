"""Logs: one JSON object per line on stdout, without secrets, prompts or line breaks.

`log = structlog.get_logger(__name__)`, then `log.info("job.leased", job_id=...)`.
Libraries that use the standard `logging` come out in the same form.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

from service_kit.redaction import mask, redact


def configure(service: str, level: str = "INFO") -> None:
    """Send every log event of this process to stdout, under the service's name."""

    def add_service(_: Any, __: str, event: EventDict) -> EventDict:
        event["service"] = service
        return event

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_service,
        structlog.processors.format_exc_info,
        _redact_event,
    ]
    number = logging.getLevelNamesMapping()[level]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: _Stdout(),
        cache_logger_on_first_use=False,
    )
    handler = _StdoutHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *shared,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    _route_libraries(number)


def _route_libraries(level: int) -> None:
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "alembic", "grpc", "sqlalchemy"):
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
    # Their INFO is a line per request, statement or connection.
    for name in ("uvicorn.access", "uvicorn.error", "httpx", "httpcore", "sqlalchemy.engine"):
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    logging.captureWarnings(True)


def _redact_event(_: Any, __: str, event: EventDict) -> EventDict:
    return {mask(str(key)): redact(value, str(key)) for key, value in event.items()}


class _Stdout:
    """Writes finished lines; one write each, so that lines of two threads do not mix."""

    def msg(self, line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    debug = info = warning = warn = error = critical = fatal = exception = log = msg


class _StdoutHandler(logging.Handler):
    """The same for standard logging."""

    def emit(self, record: logging.LogRecord) -> None:
        _Stdout().msg(self.format(record))
