"""What may be asked of completions and embeddings."""

import pytest
from pydantic import ValidationError

from gateway.entrypoints.schemas.completions import CompletionBody
from gateway.entrypoints.schemas.embeddings import EmbeddingsBody


def refused(body, **fields):
    """Return where and why a body with these fields is refused."""
    with pytest.raises(ValidationError) as caught:
        body(model="auto", **fields)
    (first, *_) = caught.value.errors()
    return ".".join(map(str, first["loc"])), first["type"]


@pytest.mark.parametrize("prompt", ["Once", ["Once"]])
def test_prompt_is_one_text(prompt):
    """Alone or in a list."""
    assert CompletionBody(model="auto", prompt=prompt).prompt == "Once"


@pytest.mark.parametrize(
    ("given", "texts"),
    [("a", ["a"]), (["a"], ["a"]), (["a", "b"], ["a", "b"]), (["a"] * 256, ["a"] * 256)],
)
def test_input_is_texts(given, texts):
    """One, or up to 256 in a list."""
    assert EmbeddingsBody(model="auto", input=given).input == texts


@pytest.mark.parametrize(
    ("prompt", "kind"),
    [
        ([1, 2, 3], "unsupported_content"),
        ([[1, 2, 3]], "unsupported_content"),
        (["a", "b"], "unsupported_content"),
        (7, "unsupported_content"),
        ([], "unsupported_content"),
        ("", "content"),
        ([""], "content"),
        (None, "content"),
        (True, "content"),
        ({"a": 1}, "content"),
    ],
)
def test_no_other_prompt(prompt, kind):
    """Token ids and lists of prompts are not supported; what is no text is no prompt."""
    assert refused(CompletionBody, prompt=prompt) == ("prompt", kind)


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ([1, 2, 3], "unsupported_content"),
        ([[1, 2], [3]], "unsupported_content"),
        (["a", [3]], "unsupported_content"),
        (7, "unsupported_content"),
        ([], "too_many_inputs"),
        (["a"] * 257, "too_many_inputs"),
        ("", "content"),
        (["a", ""], "content"),
        (["a", None], "content"),
        (None, "content"),
    ],
)
def test_no_other_input(given, kind):
    """Token ids are not supported; an empty text has no meaning to find."""
    assert refused(EmbeddingsBody, input=given) == ("input", kind)


@pytest.mark.parametrize(
    "fields",
    [
        {"echo": True},
        {"best_of": 2},
        {"n": 2},
        {"suffix": "end"},
        {"logprobs": 0},
        {"logprobs": 5},
        {"logit_bias": {"50256": -100}},
    ],
)
def test_what_would_change_a_completion_is_refused(fields):
    """It can't be ignored, so it is named."""
    assert refused(CompletionBody, prompt="a", **fields) == (*fields, "unsupported_parameter")


def test_what_changes_nothing_is_taken():
    """Clients send defaults."""
    CompletionBody(
        model="auto",
        prompt="a",
        echo=False,
        best_of=1,
        n=1,
        suffix=None,
        logprobs=None,
        logit_bias={},
        user="ada",
    )
    EmbeddingsBody(model="auto", input="a", dimensions=None, user="ada")


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({"dimensions": 256}, ("dimensions", "unsupported_parameter")),
        ({"encoding_format": "int8"}, ("encoding_format", "literal_error")),
        ({"stream": True}, ("stream", "extra_forbidden")),
    ],
)
def test_what_would_change_an_embedding_is_refused(fields, at):
    """Fewer dimensions, other encodings, streams."""
    assert refused(EmbeddingsBody, input="a", **fields) == at
