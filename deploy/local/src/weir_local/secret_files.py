"""The secrets of one stack: made once, kept in files that only their owner can read."""

import secrets
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from weir_local.files import private_directory, write_private


class SecretFiles:
    """A directory of secrets, each in a file of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @property
    def signing_keys(self) -> Path:
        """The directory with auth-service's signing keys."""
        return self._directory / "signing-keys"

    def path(self, name: str) -> Path:
        """Return where a secret is kept."""
        return self._directory / name

    def password(self, name: str) -> str:
        """Return the password kept under this name; a new random one the first time."""
        path = self.path(name)
        if path.exists():
            return path.read_text().strip()
        private_directory(self._directory)
        password = secrets.token_urlsafe(32)
        write_private(path, password)
        return password

    def keep(self, name: str, value: str) -> Path:
        """Keep a value (such as an address with a password) and return its file."""
        path = self.path(name)
        private_directory(self._directory)
        if not path.exists() or path.read_text() != value:
            write_private(path, value)
        return path

    def ensure_signing_key(self) -> None:
        """Make an Ed25519 key for access tokens, unless there is one."""
        private_directory(self._directory)
        private_directory(self.signing_keys)
        if any(self.signing_keys.glob("*.pem")):
            return
        write_private(self.signing_keys / f"key-{secrets.token_hex(4)}.pem", _new_key())

    def signing_key(self, name: str) -> Path:
        """Return the file of an Ed25519 key that signs results or receipts; made the first time."""
        path = self.path(name)
        if not path.exists():
            private_directory(self._directory)
            write_private(path, _new_key())
        return path


def _new_key() -> bytes:
    """Return a new Ed25519 key in PEM."""
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
