"""DSSE envelopes, signed with Ed25519: https://github.com/secure-systems-lab/dsse (v1.0.2).

    envelope = Signer(key_in_pem).sign(statement)

The signature is over the pre-authentication encoding: "DSSEv1", the length and text of the type,
the length and bytes of the payload, with blanks between them.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
from typing import TYPE_CHECKING, Any, Mapping

from delivery.errors import DeliveryError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from delivery.configuration import Configuration

PAYLOAD_TYPE = "application/vnd.in-toto+json"
HOW = "make one with: openssl genpkey -algorithm ed25519"


class Signer:
    """
    :param pem: a private key, PKCS #8 without a passphrase.
    :raises DeliveryError: when that is no Ed25519 key; the key is not shown.
    """

    def __init__(self, pem: str) -> None:
        from cryptography.hazmat.primitives import serialization

        self._key = _load(pem)
        public = self._key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        # As of: openssl pkey -pubin -in key.pem -outform DER | sha256sum
        self.key_id = hashlib.sha256(public).hexdigest()

    @classmethod
    def configured(cls, configuration: Configuration) -> Signer | None:
        """Returns the one of section `proof`; None where no key is set."""
        key = configuration.section("proof").get("signing_key")
        return cls(key) if key else None

    def sign(self, statement: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the envelope of an in-toto statement."""
        payload = json.dumps(statement, sort_keys=True).encode()
        signature = self._key.sign(encoded(PAYLOAD_TYPE, payload))
        return {
            "payloadType": PAYLOAD_TYPE,
            "payload": _text(payload),
            "signatures": [{"keyid": self.key_id, "sig": _text(signature)}],
        }

    def has_signed(self, envelope: Mapping[str, Any]) -> bool:
        """Returns whether one of the envelope's signatures is this key's."""
        from cryptography.exceptions import InvalidSignature

        try:
            payload = base64.b64decode(envelope["payload"])
            signed = encoded(envelope["payloadType"], payload)
            for each in envelope["signatures"]:
                with contextlib.suppress(InvalidSignature):
                    self._key.public_key().verify(base64.b64decode(each["sig"]), signed)
                    return True
        except (ValueError, KeyError, TypeError, AttributeError):
            pass
        return False


def encoded(kind: str, payload: bytes) -> bytes:
    """Returns DSSE's pre-authentication encoding: what is signed."""
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)


def _load(pem: str) -> Ed25519PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise DeliveryError(
            f"proof.signing_key: not a private key in PEM format ({type(error).__name__}); {HOW}"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise DeliveryError(f"proof.signing_key: not an Ed25519 key; {HOW}")
    return key


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
