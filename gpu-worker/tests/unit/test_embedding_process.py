"""What the embedding process makes of llama.cpp's answers."""

import pytest

from gpu_worker.adapters.embedding_process import vector_of


class Server:
    """llama.cpp, which answers as told."""

    def __init__(self, answer) -> None:
        self.answer = answer

    def handle_embeddings(self, body):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_vector():
    """The one vector of the answer, and the tokens of its text."""
    answer = {"data": [{"embedding": [0.5], "index": 0}], "usage": {"prompt_tokens": 2}}

    assert vector_of(Server(answer), "a") == {"values": [0.5], "tokens": 2}


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"error": {"type": "exceed_context_size_error"}}, "exceed_context_size_error"),
        (ValueError("bad"), "invalid_request_error"),
        (RuntimeError("bad"), "invalid_request_error"),
    ],
)
def test_error_is_passed_on(answer, kind):
    """The worker names it; the process goes on."""
    assert vector_of(Server(answer), "a")["error"]["type"] == kind
