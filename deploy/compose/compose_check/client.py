"""What the check asks of the gateway, as the administrator and as a program with a key."""

from typing import Any

import httpx
import openai

from compose_check.commands import CheckFailed, wait_for

PROMPT = "Say hello to the people of the harbour."
MAX_TOKENS = 12
# Its answer is a list, so it has several tokens whatever the machine rounds.
STREAMED_PROMPT = "Count from one to ten in words, separated by commas."
FINAL = frozenset({"completed", "failed", "cancelled", "dead_letter"})


class Client:
    """Logs in as `admin`, and makes a project and a key to send prompts with."""

    def __init__(self, url: str, password: str) -> None:
        # The address is on this machine: no proxy of the environment has a part in it.
        self._http = httpx.Client(base_url=url, trust_env=False, timeout=60)
        self._url = url
        token = self._post("/api/v1/auth/login", {"username": "admin", "password": password})[
            "access_token"
        ]
        self._http.headers["Authorization"] = f"Bearer {token}"
        body = {"name": "compose-check", "budget_allocated": "20"}
        self.project_id = str(self._post("/api/v1/projects", body)["project_id"])
        self._key = str(
            self._post(
                "/api/v1/auth/api-keys",
                {
                    "name": "compose-check",
                    "project_id": self.project_id,
                    "scopes": ["read", "inference", "jobs:write"],
                },
            )["secret"]
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def chat(self) -> str:
        """Return the answer to a prompt."""
        with self._openai() as client:
            try:
                answer = client.chat.completions.create(
                    model="auto",
                    messages=[{"role": "user", "content": PROMPT}],
                    max_tokens=MAX_TOKENS,
                )
            except openai.OpenAIError as error:
                raise CheckFailed(f"a prompt was not answered: {error}") from error
        text = answer.choices[0].message.content
        usage = answer.usage
        if not text or usage is None or not 0 < usage.completion_tokens <= MAX_TOKENS:
            raise CheckFailed(f"the answer to a prompt makes no sense: {answer}")
        return text

    def stream(self) -> int:
        """Return in how many pieces the answer to a prompt came."""
        with self._openai() as client:
            try:
                chunks = list(
                    client.chat.completions.create(
                        model="auto",
                        messages=[{"role": "user", "content": STREAMED_PROMPT}],
                        max_tokens=MAX_TOKENS,
                        temperature=0,
                        stream=True,
                        stream_options={"include_usage": True},
                    )
                )
            except openai.OpenAIError as error:
                raise CheckFailed(f"a prompt was not streamed: {error}") from error
        pieces = [c for c in chunks if c.choices and c.choices[0].delta.content]
        if len(pieces) < 2 or chunks[-1].usage is None:
            raise CheckFailed(f"the answer was not streamed to its end: {chunks}")
        return len(pieces)

    def run_job(self) -> dict[str, Any]:
        """Queue a job and return it when it is completed and paid for."""
        return self.wait_for_job(self.queue_job())

    def queue_job(self) -> str:
        """Queue a job and return its id."""
        body = {
            "type": "generation_v2",
            "project_id": self.project_id,
            "payload": {"prompt": PROMPT, "max_tokens": MAX_TOKENS},
        }
        return str(self._post("/api/v1/jobs", body)["job_id"])

    def wait_for_job(self, job_id: str) -> dict[str, Any]:
        """Return a job when it is completed; raise CheckFailed if it ends otherwise."""

        def finished() -> dict[str, Any] | None:
            job = self._get(f"/api/v1/jobs/{job_id}", project_id=self.project_id)
            return job if job["state"] in FINAL else None

        job = wait_for(f"job {job_id}", finished, seconds=90)
        if job["state"] != "completed":
            raise CheckFailed(f"the job did not complete: {job}")
        return job

    def refuse(self) -> None:
        """Ask for what nobody serves, so that there is an error to count."""
        answer = self._http.get("/api/v1/jobs/00000000-0000-7000-8000-000000000000")
        if answer.status_code not in (400, 404):
            raise CheckFailed(f"a job that is not there: {answer.status_code} {answer.text}")

    def health(self) -> dict[str, Any]:
        """Return what the gateway says of itself and of what it calls."""
        return self._get("/health")

    def _openai(self) -> openai.OpenAI:
        return openai.OpenAI(
            base_url=f"{self._url}/v1",
            api_key=self._key,
            max_retries=0,
            timeout=60,
            http_client=openai.DefaultHttpxClient(trust_env=False),
        )

    def _get(self, path: str, **query: str) -> dict[str, Any]:
        return self._checked("GET", path, params=query)

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._checked("POST", path, json=body)

    def _checked(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        try:
            answer = self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise CheckFailed(f"{method} {path}: {type(error).__name__}: {error}") from error
        if answer.status_code >= 400:
            raise CheckFailed(f"{method} {path}: {answer.status_code} {answer.text}")
        found: dict[str, Any] = answer.json()
        return found
