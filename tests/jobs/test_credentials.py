"""The certificate with which the portal logs in as a person."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import SSHCertificate, load_ssh_public_identity

from jobs.credentials import CaKeyError, load_ca_key, mint

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CA = Ed25519PrivateKey.generate()


def certificate(username: str = "fp-mei") -> SSHCertificate:
    identity = load_ssh_public_identity(mint(CA, username, NOW).certificate.encode())
    assert isinstance(identity, SSHCertificate)
    return identity


def test_it_is_good_for_one_person_and_five_minutes_and_nothing_else() -> None:
    found = certificate()
    assert found.valid_principals == [b"portal-exec:fp-mei"]
    assert found.valid_after == NOW.timestamp() - 60
    assert found.valid_before == NOW.timestamp() + 300
    assert found.extensions == {} and found.critical_options == {}
    assert found.key_id == b"firefly-portal fp-mei"
    found.verify_cert_signature()


def test_each_has_its_own_key_and_serial() -> None:
    first, second = mint(CA, "fp-mei", NOW), mint(CA, "fp-mei", NOW)
    assert first.serial != second.serial and 0 <= first.serial < 2**63
    assert first.private_key != second.private_key


def test_openssh_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "key-cert.pub"
    path.write_text(mint(CA, "fp-mei", NOW).certificate + "\n")
    said = subprocess.run(["ssh-keygen", "-L", "-f", path], capture_output=True, text=True, check=True).stdout
    assert "user certificate" in said and "portal-exec:fp-mei" in said and "Extensions: (none)" in said


def test_it_is_never_printed() -> None:
    made = mint(CA, "fp-mei", NOW)
    assert "PRIVATE" not in repr(made) and "AAAA" not in repr(made)


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "No such file"), (b"", "ssh-keygen"), (b"-----BEGIN OPENSSH PRIVATE KEY-----\nxx", "ssh-keygen")],
)
def test_a_bad_key_file_is_answered_with_what_mends_it(
    tmp_path: Path, content: bytes | None, says: str
) -> None:
    path = tmp_path / "ca"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CaKeyError, match=says):
        load_ca_key(path)


@pytest.mark.parametrize(
    "kind", [["-t", "rsa", "-b", "2048", "-N", ""], ["-t", "ed25519", "-N", "secret words"]]
)
def test_only_an_open_ed25519_key_will_do(tmp_path: Path, kind: list[str]) -> None:
    subprocess.run(["ssh-keygen", "-q", *kind, "-f", tmp_path / "ca"], check=True)
    with pytest.raises(CaKeyError, match="ssh-keygen -t ed25519"):
        load_ca_key(tmp_path / "ca")
