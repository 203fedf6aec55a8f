"""The proof of a release: its statement, its signature, and its evidence in Consul."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from releases import published, settled, shop
from signing_keys import private_pem as pem

from delivery.configuration import Configuration
from delivery.errors import DeliveryError
from delivery.proof import evidence
from delivery.proof.envelope import Signer, encoded
from delivery.proof.statement import provenance, rolled_out

KEY = Ed25519PrivateKey.generate()
SIGNER = Signer(pem(KEY))


def test_what_is_signed_is_encoded_as_dsse_says():
    # The example of DSSE's protocol, "Test Vectors".
    assert encoded("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_an_envelope_is_signed_over_its_type_and_payload():
    envelope = SIGNER.sign({"b": 1, "a": [2]})
    payload = base64.b64decode(envelope["payload"])
    assert json.loads(payload) == {"a": [2], "b": 1}
    (signature,) = envelope["signatures"]
    assert signature["keyid"] == SIGNER.key_id
    raw = base64.b64decode(signature["sig"])
    KEY.public_key().verify(raw, encoded(envelope["payloadType"], payload))
    with pytest.raises(InvalidSignature):
        KEY.public_key().verify(raw, encoded("text/plain", payload))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("garbage", "proof.signing_key: not a private key in PEM format"),
        (pem(generate_private_key(SECP256R1())), "proof.signing_key: not an Ed25519 key; make one"),
    ],
    ids=["garbage", "another kind of key"],
)
def test_what_is_no_key_is_refused_and_not_shown(text, words):
    with pytest.raises(DeliveryError, match=words) as refused:
        Signer.configured(Configuration({"proof": {"signing_key": text}}))
    assert text[:20] not in str(refused.value)


def test_without_a_key_nothing_is_signed():
    assert Signer.configured(Configuration({})) is None


def test_the_provenance_says_what_hosts_decide_by(store):
    application = shop(store)
    release = application.releases.get(published(application).version)
    build = application.builds.get(release.commit)
    stated = provenance(
        "shop", release, build, "https://github.com", ["build-1", "build-2"], release.created_at
    )
    assert stated["_type"] == "https://in-toto.io/Statement/v1"
    assert stated["predicateType"] == "https://slsa.dev/provenance/v1"
    assert stated["subject"] == [
        {"name": release.package.file, "digest": {"sha256": release.package.sha256}}
    ]
    definition = stated["predicate"]["buildDefinition"]
    assert definition["externalParameters"] == {
        "application": "shop",
        "version": release.version,
        "repository": "acme/shop",
        "branch": "main",
        "path": "",
    }
    assert definition["resolvedDependencies"] == [
        {
            "uri": "git+https://github.com/acme/shop@refs/heads/main",
            "digest": {"gitCommit": release.commit},
        }
    ]
    assert stated["predicate"]["runDetails"]["builder"] == {
        "id": "urn:cicd-canary:build-host:build-1",
        "cicdcanary_reproducedBy": ["urn:cicd-canary:build-host:build-2"],
    }
    assert stated["predicate"]["runDetails"]["byproducts"] == []


def test_what_becomes_of_a_release_is_appended_once(store, monkeypatch):
    application = shop(store)
    target = published(application)
    with pytest.raises(DeliveryError, match=f"shop {target.version} has no evidence"):
        application.evidence.of(target.version)
    application.evidence.append(target.version, SIGNER.sign({}))
    assert store.get(f"shop/evidence/{target.version}") is None
    first = SIGNER.sign({"provenance": True})
    store.commit([_below(application, target.version, first)])
    settled(application, "canary", target)
    rollout = application.stages.get("canary").latest()
    release = application.releases.get(target.version)
    for _ in range(2):
        application.evidence.append(target.version, SIGNER.sign(rolled_out(release, rollout)))
    assert len(application.evidence.of(target.version)) == 2
    assert application.evidence.of(target.version)[0] == first
    payload = json.loads(base64.b64decode(application.evidence.of(target.version)[1]["payload"]))
    assert payload["predicate"]["stage"] == "canary"
    monkeypatch.setattr(evidence, "MOST_ENVELOPES", 2)
    application.evidence.append(target.version, SIGNER.sign({"one": "too many"}))
    assert len(application.evidence.of(target.version)) == 2


def test_malformed_evidence_names_its_key(store):
    application = shop(store)
    target = published(application)
    store.commit([store.overwrite(f"shop/evidence/{target.version}", '{"envelopes": 5}')])
    with pytest.raises(DeliveryError, match=f"shop/evidence/{target.version}.*envelopes"):
        application.evidence.of(target.version)


def _below(application, version, envelope):
    return application.evidence.begin(version, envelope)
