"""Links in mails that stand for a right: signed by the site's key over a nonce in the row, so what is stored opens nothing."""

from __future__ import annotations

import secrets

from django.core.signing import BadSignature, Signer


def new_nonce() -> str:
    return secrets.token_hex(16)


def token_of(kind: str, nonce: str) -> str:
    """What stands in the link. Only whoever holds SECRET_KEY can make it."""
    return Signer(salt=f"portal.links.{kind}").sign(nonce)


def nonce_of(kind: str, token: str) -> str | None:
    """The row's nonce, or None for what we did not sign."""
    try:
        return Signer(salt=f"portal.links.{kind}").unsign(token)
    except BadSignature:
        return None
