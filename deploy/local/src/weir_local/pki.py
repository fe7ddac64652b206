"""A private certificate authority, and a certificate for each service it vouches for.

A service is known by the URI in its certificate: `spiffe://weir/job-service`, or for a worker
`spiffe://weir/gpu-worker/<worker id>`.
"""

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from weir_local.files import private_directory, write_private

AUTHORITY_DAYS = 3650
CERTIFICATE_DAYS = 365
# Whoever starts Weir again once a quarter never meets an expired one.
RENEW_BEFORE_DAYS = 120
# Clocks differ; a certificate made just now must already hold for the others.
_BACKDATED = datetime.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Identity:
    """The files by which a service shows who it is and checks who others are."""

    authority: Path
    certificate: Path
    key: Path


class Authority:
    """The authority kept in a directory; made there on first use."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.certificate_file = directory / "ca.pem"
        self._key_file = directory / "ca.key"

    def issue(self, identity: str) -> Identity:
        """Return the files for `job-service` or `gpu-worker/<id>`, new ones if they near expiry."""
        self._ensure()
        stem = identity.replace("/", "-")
        files = Identity(
            self.certificate_file, self._directory / f"{stem}.pem", self._directory / f"{stem}.key"
        )
        if not (files.key.exists() and self._still_good(files.certificate, identity)):
            self._sign(files, identity)
        return files

    def _ensure(self) -> None:
        private_directory(self._directory)
        if self._key_file.exists() and days_left(self.certificate_file) > RENEW_BEFORE_DAYS:
            return
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("Weir private authority")
        certificate = (
            _builder(name, name, key.public_key(), AUTHORITY_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(authority=True), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .sign(key, hashes.SHA256())
        )
        write_private(self._key_file, _pem(key))
        write_private(self.certificate_file, certificate.public_bytes(serialization.Encoding.PEM))

    def _still_good(self, file: Path, identity: str) -> bool:
        if days_left(file) <= RENEW_BEFORE_DAYS:
            return False
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
        try:
            certificate.verify_directly_issued_by(_certificate(self.certificate_file))
        except (ValueError, TypeError, InvalidSignature):  # of an earlier authority
            return False
        return f"spiffe://weir/{identity}" in uris(certificate)

    def _sign(self, files: Identity, identity: str) -> None:
        authority = _certificate(self.certificate_file)
        authority_key = serialization.load_pem_private_key(self._key_file.read_bytes(), None)
        assert isinstance(authority_key, ec.EllipticCurvePrivateKey)
        key = ec.generate_private_key(ec.SECP256R1())
        service = identity.partition("/")[0]
        names = x509.SubjectAlternativeName(
            [
                x509.UniformResourceIdentifier(f"spiffe://weir/{identity}"),
                x509.DNSName(service),
                x509.DNSName("localhost"),
                x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
            ]
        )
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = (
            _builder(_name(service), authority.subject, key.public_key(), CERTIFICATE_DAYS)
            .add_extension(names, critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
                critical=False,
            )
            .sign(authority_key, hashes.SHA256())
        )
        write_private(files.key, _pem(key))
        write_private(files.certificate, certificate.public_bytes(serialization.Encoding.PEM))


def days_left(file: Path) -> float:
    """Return how many days a certificate still holds; 0 if there is none."""
    if not file.exists():
        return 0.0
    now = datetime.datetime.now(datetime.UTC)
    return (_certificate(file).not_valid_after_utc - now) / datetime.timedelta(days=1)


def uris(certificate: x509.Certificate) -> list[str]:
    """Return the URIs that a certificate vouches for."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def _certificate(file: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(file.read_bytes())


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
