"""Which models a provider has, as it tells."""

import json
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from compute_router.adapters.openai_models import OpenAiModels
from service_kit.errors import Unavailable


class FakeHttp:
    """A provider whose list is told."""

    status = 200
    names = ()

    @asynccontextmanager
    async def asked(self, method, path):
        async def read(_):
            return bytearray(json.dumps({"data": [{"id": name} for name in self.names]}).encode())

        yield SimpleNamespace(status=self.status, read=read)


@pytest.fixture
def http():
    return FakeHttp()


async def test_order_of_the_list_does_not_matter(http):
    """What `auto` takes stays the same, however the provider shuffles; doubles count once."""
    models = OpenAiModels("yotta", http)
    for names in (["b", "c", "a", "b"], ["c", "a", "b"]):
        http.names = names
        await models.refresh()

        assert models.names == ("a", "b", "c")


@pytest.mark.parametrize("status", [401, 402, 403])
async def test_refused_key_is_in_the_log(http, status):
    """Under one name, whoever the provider is; the last list stays."""
    http.status = status
    models = OpenAiModels("other", http, ["a"])

    with capture_logs() as logs, pytest.raises(Unavailable):
        await models.refresh()

    assert [(entry["event"], entry["target"], entry["status"]) for entry in logs] == [
        ("provider.key_refused", "other", status)
    ]
    assert models.names == ("a",)
