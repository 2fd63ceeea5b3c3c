"""Short-lived SSH certificates: how the portal logs in as a person without keeping that person's key.

A fresh Ed25519 key lives in memory for one connection. Its certificate names one principal,
`portal-exec:USER`; the cluster's own AuthorizedPrincipalsFile decides what that principal may run (the
gateway, from the portal's address), so even a stolen CA key opens no shell.
"""

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    SSHCertificateBuilder,
    SSHCertificateType,
    load_ssh_private_key,
)

CLOCK_SKEW = timedelta(seconds=60)
LIFETIME = timedelta(seconds=300)


@dataclass(frozen=True)
class Credential:
    """A key and its certificate, both OpenSSH text. Never printed, never stored."""

    username: str
    private_key: str = field(repr=False)
    certificate: str = field(repr=False)
    serial: int
    expires_at: datetime


class CaKeyError(Exception):
    """The file named as `ca_key_file` is no usable Ed25519 key. The sentence mends it and quotes nothing of it."""


def load_ca_key(path: Path) -> Ed25519PrivateKey:
    try:
        key = load_ssh_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise CaKeyError(f"Can't read the certificate authority's key {path}: {error.strerror}.") from None
    except (ValueError, TypeError):
        raise CaKeyError(
            f"{path} is no unencrypted OpenSSH private key. Make one with: ssh-keygen -t ed25519 -N '' -f {path}"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise CaKeyError(f"{path} is no Ed25519 key. Make one with: ssh-keygen -t ed25519 -N '' -f {path}")
    return key


def mint(ca_key: Ed25519PrivateKey, username: str, now: datetime) -> Credential:
    """A credential for `username`, good from a minute before `now` (clocks differ) to five minutes after."""
    key = Ed25519PrivateKey.generate()
    serial = secrets.randbits(63)
    expires_at = now + LIFETIME
    certificate = (
        SSHCertificateBuilder()
        .public_key(key.public_key())
        .type(SSHCertificateType.USER)
        .serial(serial)
        .key_id(f"firefly-portal {username}".encode())
        .valid_principals([f"portal-exec:{username}".encode()])
        .valid_after((now - CLOCK_SKEW).timestamp())
        .valid_before(expires_at.timestamp())
        .sign(ca_key)
    )
    return Credential(
        username=username,
        private_key=key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode(),
        certificate=certificate.public_bytes().decode(),
        serial=serial,
        expires_at=expires_at,
    )
