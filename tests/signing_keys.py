"""Keys that statements are signed with, as files have them."""

from __future__ import annotations

from cryptography.hazmat.primitives import serialization


def private_pem(key):
    """Returns a private key of any kind."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def public_pem(key):
    """Returns a private key's public half."""
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )
