"""`X-Weir-Residency`: where prompts of the OpenAI routes may go."""

import pytest
from weir.router.v1 import router_service_pb2

BODIES = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Hi"}]},
    "/v1/completions": {"prompt": "Hi"},
    "/v1/embeddings": {"input": "Hi"},
}


@pytest.mark.parametrize("path", BODIES)
async def test_local_only_goes_along(http, script, program, path):
    """The wish reaches job-service, which holds every target to it."""
    headers = {**program, "X-Weir-Residency": "local_only"}

    await http.post(path, headers=headers, json={"model": "auto", **BODIES[path]})

    residency = script.last("RunJob").request.specification.residency
    assert residency == router_service_pb2.RESIDENCY_LOCAL_ONLY


@pytest.mark.parametrize("path", BODIES)
async def test_misspelt_wish_is_refused(http, script, program, path):
    """Somebody who means `local_only` and writes something else is not sent to the cloud."""
    headers = {**program, "X-Weir-Residency": "local"}

    answer = await http.post(path, headers=headers, json={"model": "auto", **BODIES[path]})

    assert answer.status_code == 400
    assert "local_only" in answer.json()["error"]["message"]
