"""Which models a provider has: told by a setting, or asked from it now and then."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import structlog

from compute_router.adapters.openai_http import Broken, NotSent, OpenAiHttp
from compute_router.adapters.openai_refusals import KEY_REFUSED
from compute_router.adapters.openai_words import BadAnswer, object_of
from compute_router.domain.target import MAX_MODELS, is_model_name
from service_kit.errors import Unavailable

log = structlog.get_logger(__name__)

_MAX_LIST_BYTES: Final = 4 * 1024 * 1024


class OpenAiModels:
    """The names, as they were last known. While the provider is away they stay."""

    def __init__(self, target: str, http: OpenAiHttp, names: Sequence[str] = ()) -> None:
        self._target = target
        self._http = http
        self.names = tuple(names)
        self.problem = "" if names else "it was not asked yet"
        """Why the list could not be read the last time, for people; empty if it could."""

    async def refresh(self) -> None:
        """Ask for the list.

        Raises:
            Unavailable: It could not be had; the last one stays.
        """
        before = self.problem
        try:
            self.names, self.problem = await self._asked(), ""
        except NotSent as error:
            self.problem = str(error)
        except (Broken, BadAnswer) as error:
            self.problem = f"it gave no list ({error.cause})"
        if self.problem:
            raise Unavailable(self._target)
        if before:
            log.info("provider.models_known", target=self._target, models=len(self.names))

    async def _asked(self) -> tuple[str, ...]:
        async with self._http.asked("GET", "/v1/models") as answer:
            if answer.status in KEY_REFUSED:
                log.error("provider.key_refused", target=self._target, status=answer.status)
            if answer.status != 200:
                raise BadAnswer(f"HTTP_{answer.status}")
            rows = object_of(await answer.read(_MAX_LIST_BYTES)).get("data")
        if not isinstance(rows, list):
            raise BadAnswer("NOT_UNDERSTOOD")
        names = (row.get("id") for row in rows if isinstance(row, dict))
        # In one order, whatever the provider's: `auto` takes the first.
        return tuple(sorted({name for name in names if is_model_name(name)})[:MAX_MODELS])
