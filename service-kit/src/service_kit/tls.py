"""The three files that are a service's identity on the network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths of PEM files: who we trust, who we are, and the proof of it."""

    ca_file: Path
    cert_file: Path
    key_file: Path

    def server_credentials(self) -> grpc.ServerCredentials:
        """Serve as ourselves, to holders of a certificate of our authority alone."""
        return grpc.ssl_server_credentials(
            [(self.key_file.read_bytes(), self.cert_file.read_bytes())],
            root_certificates=self.ca_file.read_bytes(),
            require_client_auth=True,
        )

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Call as ourselves, servers of our authority alone."""
        return grpc.ssl_channel_credentials(
            root_certificates=self.ca_file.read_bytes(),
            private_key=self.key_file.read_bytes(),
            certificate_chain=self.cert_file.read_bytes(),
        )
