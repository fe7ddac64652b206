"""The private authority and the certificates it makes."""

import datetime
from pathlib import Path

import pytest
import time_machine
from cryptography import x509

from weir_local import pki
from weir_local.pki import Authority


def names_of(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


@pytest.mark.parametrize(
    ("identity", "host"),
    [("job-service", "job-service"), ("gpu-worker/local-1", "gpu-worker")],
)
def test_a_certificate_names_its_service_and_this_machine(
    tmp_path: Path, identity: str, host: str
) -> None:
    """Callers find the service's SPIFFE name, its host name, and loopback in it."""
    files = Authority(tmp_path / "pki").issue(identity)

    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    names = names_of(certificate)
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [
        f"spiffe://weir/{identity}"
    ]
    assert names.get_values_for_type(x509.DNSName) == [host, "localhost"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    authority = x509.load_pem_x509_certificate(files.authority.read_bytes())
    certificate.verify_directly_issued_by(authority)


def test_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    """No other user of the machine can read a private key."""
    files = Authority(tmp_path / "pki").issue("gateway")

    assert (tmp_path / "pki").stat().st_mode & 0o777 == 0o700
    for key in (files.key, tmp_path / "pki" / "ca.key"):
        assert key.stat().st_mode & 0o777 == 0o600


def test_a_good_certificate_is_kept(tmp_path: Path) -> None:
    """Asking again gives the same certificate, so that services need no restart."""
    authority = Authority(tmp_path / "pki")
    first = authority.issue("gateway").certificate.read_bytes()

    assert authority.issue("gateway").certificate.read_bytes() == first


def test_a_certificate_near_its_end_is_renewed(tmp_path: Path) -> None:
    """A quarter before it ends there is a new one, of the same authority."""
    authority = Authority(tmp_path / "pki")
    files = authority.issue("gateway")
    first, ca = files.certificate.read_bytes(), files.authority.read_bytes()

    late = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=365 - 92)
    with time_machine.travel(late):
        authority.issue("gateway")
        assert pki.days_left(files.certificate) > 300

    assert files.certificate.read_bytes() != first
    assert files.authority.read_bytes() == ca


def test_a_certificate_of_an_earlier_authority_is_replaced(tmp_path: Path) -> None:
    """When the authority was removed and made again, the old certificates are not used."""
    authority = Authority(tmp_path / "pki")
    files = authority.issue("gateway")
    first = files.certificate.read_bytes()
    (tmp_path / "pki" / "ca.key").unlink()

    authority.issue("gateway")

    assert files.certificate.read_bytes() != first
