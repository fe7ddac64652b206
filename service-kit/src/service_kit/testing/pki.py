"""A certificate authority and one certificate per service, for tests."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from service_kit.tls import TlsFiles


def make_test_pki(path: Path, services: Iterable[str]) -> dict[str, TlsFiles]:
    """Write an authority and certificates under `path`, and return the files by service.

    Args:
        path: A directory, made if it is missing. Two calls make two authorities.
        services: Names such as "job-service"; "gpu-worker/w1" is the worker w1.
    """
    authority = Authority(path)
    return {service: authority.issue(service) for service in services}


class Authority:
    """Signs certificates for tests, also odd ones."""

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("Weir test authority")
        certificate = (
            _builder(self._name, self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self._ca_file = path / "ca.pem"
        self._ca_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, service: str, uris: Sequence[str] | None = None) -> TlsFiles:
        """Write a certificate for a service; `uris` replaces its one SPIFFE name."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = service.partition("/")[0]
        names = [f"spiffe://weir/{service}"] if uris is None else uris
        certificate = (
            _builder(_name(name), self._name, key.public_key())
            .add_extension(
                x509.SubjectAlternativeName(
                    [
                        *[x509.UniformResourceIdentifier(uri) for uri in names],
                        x509.DNSName(name),
                        x509.DNSName("localhost"),
                        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
                    ]
                ),
                critical=False,
            )
            .add_extension(
                x509.ExtendedKeyUsage(
                    [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
                ),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        stem = service.replace("/", "_")
        files = TlsFiles(self._ca_file, self._path / f"{stem}.pem", self._path / f"{stem}.key")
        files.cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        files.key_file.touch(mode=0o600)
        files.key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return files


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
