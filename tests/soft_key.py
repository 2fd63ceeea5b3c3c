"""A security key made of software: what a browser hands on when its person touches a real one."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from fido2.cose import ES256
from fido2.utils import websafe_encode
from fido2.webauthn import (
    AttestationObject,
    AttestedCredentialData,
    AuthenticatorData,
    CollectedClientData,
)

NOWHERE = {"publicKey": {"challenge": "AAAAAAAAAAAAAAAAAAAAAA", "rp": {"id": "testserver"}}}
TOUCHED = AuthenticatorData.FLAG.UP | AuthenticatorData.FLAG.UV


class SoftKey:
    def __init__(self, site: str = "testserver") -> None:
        self.site = site
        self.id = secrets.token_bytes(16)
        self.private = ec.generate_private_key(ec.SECP256R1())

    def registers(self, options: Mapping[str, Any] = NOWHERE) -> str:
        """The answer to `navigator.credentials.create`, as JSON."""
        public = ES256.from_cryptography_key(self.private.public_key())  # type: ignore[no-untyped-call]
        known = AttestedCredentialData.create(b"\0" * 16, self.id, public)
        data = AuthenticatorData.create(self._site_hash, TOUCHED | AuthenticatorData.FLAG.AT, 0, bytes(known))
        client = self._client("webauthn.create", options)
        made = AttestationObject.create("none", data, {})
        return self._credential(clientDataJSON=bytes(client), attestationObject=bytes(made))

    def answers(self, options: Mapping[str, Any]) -> str:
        """The answer to `navigator.credentials.get`, as JSON."""
        data = AuthenticatorData.create(self._site_hash, TOUCHED, 1)
        client = self._client("webauthn.get", options)
        signature = self.private.sign(bytes(data) + client.hash, ec.ECDSA(SHA256()))
        return self._credential(
            clientDataJSON=bytes(client), authenticatorData=bytes(data), signature=signature
        )

    @property
    def _site_hash(self) -> bytes:
        return sha256(self.site.encode()).digest()

    def _client(self, kind: str, options: Mapping[str, Any]) -> CollectedClientData:
        return CollectedClientData.create(
            type=kind, challenge=options["publicKey"]["challenge"], origin=f"https://{self.site}"
        )

    def _credential(self, **response: bytes) -> str:
        own = websafe_encode(self.id)
        return json.dumps(
            {
                "id": own,
                "rawId": own,
                "type": "public-key",
                "response": {name: websafe_encode(value) for name, value in response.items()},
                "clientExtensionResults": {},
            }
        )
