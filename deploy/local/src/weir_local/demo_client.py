"""What the demo asks of the gateway, over plain HTTP and with the official `openai` client."""

import secrets
import time
from collections.abc import Iterator
from typing import Any, Self

import httpx
import openai

FINAL = frozenset({"completed", "failed", "cancelled", "dead_letter"})


class UnexpectedAnswer(Exception):
    """Weir answered something else than the demo is about to show."""


class DemoClient:
    """A person who registers, and the programs that person gives keys to."""

    def __init__(self, gateway_url: str) -> None:
        self._gateway_url = gateway_url
        # The address is on this machine: no proxy of the environment has a part in it.
        self._http = httpx.Client(base_url=gateway_url, trust_env=False, timeout=60)
        self.username = f"ada-{secrets.token_hex(4)}"

    def register(self) -> None:
        """Make an account and go on as that person."""
        made = self._post(
            "/api/v1/auth/register",
            {
                "email": f"{self.username}@example.org",
                "username": self.username,
                "name": "Ada",
                "password": secrets.token_urlsafe(16),
            },
        )
        self._http.headers["Authorization"] = f"Bearer {made['access_token']}"

    def default_project(self) -> str:
        """Return the id of the project that was made with the account."""
        return str(self._get("/api/v1/auth/me")["default_project_id"])

    def new_project(self, name: str, budget_usd: str) -> str:
        """Make a project that may spend so much in a month; return its id."""
        body = {"name": name, "budget_allocated": budget_usd}
        return str(self._post("/api/v1/projects", body)["project_id"])

    def new_key(self, project_id: str) -> str:
        """Return an API key of a project."""
        scopes = ["read", "inference", "jobs:write"]
        body = {"name": "demo", "project_id": project_id, "scopes": scopes}
        return str(self._post("/api/v1/auth/api-keys", body)["secret"])

    def budget(self, project_id: str) -> dict[str, Any]:
        """Return the budget of a project in this month."""
        return self._get(f"/api/v1/costs/projects/{project_id}/budget")

    def explain(self, prompt: str) -> dict[str, Any]:
        """Return where a prompt would run and why, without running it."""
        return self._post("/api/v1/route", {"prompt": prompt})

    def explain_until_target(
        self, prompt: str, target: str, seconds: float = 60.0
    ) -> dict[str, Any]:
        """Return the decision once it is for this target."""
        deadline = time.monotonic() + seconds
        while (decision := self.explain(prompt))["target"] != target:
            if time.monotonic() > deadline:
                raise UnexpectedAnswer("; ".join(decision["explanation"]))
            time.sleep(0.2)
        return decision

    def chat(self, key: str, prompt: str, max_tokens: int) -> tuple[str, dict[str, Any]]:
        """Return the answer to a prompt, and its `weir` object."""
        with self._openai(key) as client:
            try:
                answer = client.chat.completions.create(
                    model="auto",
                    messages=[{"role": "user", "content": prompt}],
                    max_tokens=max_tokens,
                )
            except openai.OpenAIError as error:
                raise UnexpectedAnswer(f"The chat failed: {error}") from error
        return answer.choices[0].message.content or "", dict((answer.model_extra or {})["weir"])

    def stream(self, key: str, prompt: str, max_tokens: int) -> Iterator[Any]:
        """Yield the chunks of a chat answer as they come."""
        with self._openai(key) as client:
            yield from client.chat.completions.create(
                model="auto",
                messages=[{"role": "user", "content": prompt}],
                max_tokens=max_tokens,
                stream=True,
                stream_options={"include_usage": True},
            )

    def refused_chat(self, key: str, prompt: str) -> str:
        """Ask for a chat that the budget can't pay; return the code of the refusal."""
        with self._openai(key) as client:
            try:
                client.chat.completions.create(
                    model="auto", messages=[{"role": "user", "content": prompt}]
                )
            except openai.RateLimitError as error:
                return f"{error.status_code} {error.code}"
        raise UnexpectedAnswer("A chat beyond its budget was not refused.")

    def queue(self, project_id: str, prompt: str, max_tokens: int) -> str:
        """Queue a job; return its id."""
        body = {
            "type": "generation_v2",
            "project_id": project_id,
            "payload": {"prompt": prompt, "max_tokens": max_tokens},
        }
        return str(self._post("/api/v1/jobs", body)["job_id"])

    def job(self, project_id: str, job_id: str) -> dict[str, Any]:
        """Return a job."""
        return self._get(f"/api/v1/jobs/{job_id}", project_id=project_id)

    def bill(self, project_id: str, job_id: str, seconds: float = 15.0) -> dict[str, Any]:
        """Return what a job cost, as soon as that is in the ledger."""
        deadline = time.monotonic() + seconds
        path = f"/api/v1/costs/jobs/{job_id}"
        while not (bill := self._get(path, project_id=project_id))["settled"]:
            if time.monotonic() > deadline:
                raise UnexpectedAnswer(f"Job {job_id} was not billed after {seconds:.0f} s.")
            time.sleep(0.1)
        return bill

    def receipt(self, project_id: str, job_id: str) -> dict[str, Any]:
        """Return the signed receipt of a job."""
        return self._get(f"/api/v1/jobs/{job_id}/receipt", project_id=project_id)

    def receipt_keys(self) -> dict[str, Any]:
        """Return the published keys that receipts are signed with."""
        return self._get("/.well-known/weir-receipt-keys.json")

    def set_budget(self, project_id: str, budget_usd: str) -> None:
        """Let a project spend so much in a month."""
        body = {"budget_allocated": budget_usd}
        _checked(self._http.put(f"/api/v1/projects/{project_id}/budget", json=body))

    def jobs(self, project_id: str) -> list[dict[str, Any]]:
        """Return the jobs of a project, oldest first."""
        return list(reversed(self._get("/api/v1/jobs", project_id=project_id)["jobs"]))

    def states(
        self, project_id: str, job_id: str, seconds: float = 60.0, after: str | None = None
    ) -> Iterator[str]:
        """Yield each state that a job is seen in (after a known one), up to a final one.

        `blocked` counts as final, unless it was `after` that.
        """
        deadline = time.monotonic() + seconds
        seen = after
        while time.monotonic() < deadline:
            state = self.job(project_id, job_id)["state"]
            if state != seen:
                seen = state
                yield state
            if state in FINAL or (state == "blocked" and after != "blocked"):
                return
            time.sleep(0.1)
        raise UnexpectedAnswer(f"Job {job_id} was still {seen} after {seconds:.0f} s.")

    def wait_until_settled(self, project_id: str, seconds: float = 15.0) -> None:
        """Wait until nothing of a project's budget is reserved any more."""
        deadline = time.monotonic() + seconds
        while self.budget(project_id)["reserved_nanousd"]:
            if time.monotonic() > deadline:
                raise UnexpectedAnswer(f"Money was still reserved after {seconds:.0f} s.")
            time.sleep(0.1)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _openai(self, key: str) -> openai.OpenAI:
        return openai.OpenAI(
            api_key=key,
            base_url=f"{self._gateway_url}/v1",
            max_retries=0,
            http_client=openai.DefaultHttpxClient(trust_env=False, timeout=120),
        )

    def _get(self, path: str, **query: str) -> dict[str, Any]:
        return _checked(self._http.get(path, params=query))

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return _checked(self._http.post(path, json=body))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _checked(response: httpx.Response) -> dict[str, Any]:
    if response.is_error:
        request = response.request
        raise UnexpectedAnswer(
            f"{request.method} {request.url.path} answered {response.status_code}: {response.text}"
        )
    return dict(response.json())
