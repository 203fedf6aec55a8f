"""cicd-verify, with the real openssl and jq; only Consul's answer is made up."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from shell_functions import calling
from signing_keys import private_pem, public_pem

from delivery.proof.envelope import PAYLOAD_TYPE, Signer, encoded

PROGRAMS = ("openssl", "jq")
VERSION = "1.0-1.aaaaaaa"

# After the functions of the program. Prints OK, or why not.
RUN = """
conf_dir=$ROOT/conf
curl() {
    local output
    while [ $# -gt 0 ]; do
        if [ "$1" = --output ]; then output=$2; shift; fi
        case $1 in http*) address=$1 ;; esac
        shift
    done
    cp "$ROOT/evidence" "$output" 2> /dev/null || true
    cat "$ROOT/status"
}
main "$@" && echo OK
"""


class Host:
    """One that takes shop from acme/shop, branches main and release/*."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "conf/keys").mkdir(parents=True)
        (root / "conf/shop.conf").write_text(
            "REPOSITORY=acme/shop\nBRANCHES='main release/*'\nKV_PREFIX=cicd\n"
        )
        (root / "status").write_text("200")
        self.package = root / "shop.deb"
        self.package.write_bytes(b"the package")
        self.signer = self.key("2026")
        self.statement = {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [
                {
                    "name": f"shop_{VERSION}_all.deb",
                    "digest": {"sha256": hashlib.sha256(b"the package").hexdigest()},
                }
            ],
            "predicateType": "https://slsa.dev/provenance/v1",
            "predicate": {
                "buildDefinition": {
                    "buildType": "urn:cicd-canary:package:v1",
                    "externalParameters": {
                        "application": "shop",
                        "version": VERSION,
                        "repository": "acme/shop",
                        "branch": "main",
                    },
                }
            },
        }

    def key(self, name: str, known: bool = True) -> Signer:
        """Returns who signs with a new key; the host knows its public half."""
        key = Ed25519PrivateKey.generate()
        if known:
            (self.root / f"conf/keys/{name}.pem").write_text(public_pem(key))
        return Signer(private_pem(key))

    def changed(self, path: str, value: object) -> dict:
        statement = copy.deepcopy(self.statement)
        *parents, last = path.split("/")
        place = statement
        for name in parents:
            place = place[name]
        place[last] = value
        return statement

    def verify(self, *envelopes: object, raw: str | None = None) -> str:
        """Returns OK, or why not, of a package with this evidence."""
        text = json.dumps({"envelopes": envelopes}) if raw is None else raw
        (self.root / "evidence").write_text(text)
        return self.run("shop", VERSION, str(self.package))

    def run(self, *arguments: str, stdin: str = "") -> str:
        ran = subprocess.run(
            calling("cicd-verify", RUN, *arguments),
            env={"PATH": os.environ["PATH"], "ROOT": str(self.root)},
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        said = ran.stdout.strip()
        assert (ran.returncode == 0) is (said == "OK"), (ran.returncode, said)
        assert "\n" not in said
        return said


@pytest.fixture
def host(tmp_path):
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if missing:
        pytest.skip(f"{', '.join(missing)}: not installed; apt-get install openssl jq")
    return Host(tmp_path)


OF = "predicate/buildDefinition/externalParameters"


def test_the_package_that_is_proven_is_taken(host):
    assert host.verify(host.signer.sign(host.statement)) == "OK"


@pytest.mark.parametrize("branch", ["main", "release/1", "release/1/x"])
def test_the_branches_of_the_policy_are_taken(host, branch):
    assert host.verify(host.signer.sign(host.changed(f"{OF}/branch", branch))) == "OK"


def test_capitals_make_no_difference_in_the_name_of_a_repository(host):
    assert host.verify(host.signer.sign(host.changed(f"{OF}/repository", "ACME/Shop"))) == "OK"


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        (
            f"{OF}/repository",
            "mallory/shop",
            "built of mallory/shop, and this host takes only",
        ),
        (f"{OF}/repository", None, "evidence is malformed"),
        (f"{OF}/branch", "feature/x", "of branch feature/x, and this host takes only main"),
        (f"{OF}/branch", "mainly", "of branch mainly, and"),
        (f"{OF}/branch", "", "of branch , and"),
        (f"{OF}/application", "notes", "it was built as notes"),
        (f"{OF}/version", "0.9-1.bbbbbbb", "it was built as version 0.9-1.bbbbbbb"),
        (f"{OF}/application", "\x1b[2J\nshop", "it was built as"),
        ("predicate/buildDefinition/buildType", "urn:else", "evidence is malformed"),
        ("predicate", [], "evidence is malformed"),
        ("_type", "https://in-toto.io/Statement/v2", "evidence is malformed"),
        ("predicateType", "urn:cicd-canary:rollout:v1", "evidence has no provenance"),
        ("subject/0/digest/sha256", "0" * 64, "evidence is that of another package"),
        ("subject", [], "evidence is that of another package"),
        ("subject/0/digest/sha256", None, "evidence is that of another package"),
    ],
)
def test_what_else_is_signed_is_refused(host, path, value, why):
    if path.startswith("subject/0"):
        statement = copy.deepcopy(host.statement)
        statement["subject"][0]["digest"]["sha256"] = value
    else:
        statement = host.changed(path, value)
    said = host.verify(host.signer.sign(statement))
    assert said.startswith(f"shop {VERSION}: "), said
    assert why in said
    assert said.isprintable()


def test_a_package_that_was_changed_after_it_was_signed_is_refused(host):
    host.package.write_bytes(b"another package")
    assert "that of another package" in host.verify(host.signer.sign(host.statement))


def test_a_subject_that_is_added_to_the_packages_is_refused(host):
    other = {"name": "x", "digest": {"sha256": "0" * 64}}
    statement = host.changed("subject", [*host.statement["subject"], other])
    assert "that of another package" in host.verify(host.signer.sign(statement))


def altered(envelope: dict, **changes: object) -> dict:
    return {**envelope, **changes}


def test_a_signature_that_is_not_right_is_refused(host):
    good = host.signer.sign(host.statement)
    other = host.key("other", known=False).sign(host.statement)
    payload = base64.b64encode(json.dumps(host.changed(f"{OF}/branch", "x")).encode()).decode()
    none = "its evidence is signed by none of the keys in "
    assert none in host.verify(other)
    assert none in host.verify(altered(good, payload=payload))
    assert none in host.verify(altered(good, signatures=other["signatures"]))
    for sig in ("", "AAAA", "\u00e9", "x" * 5000, "=" * 4):
        changed = altered(good, signatures=[{"keyid": host.signer.key_id, "sig": sig}])
        said = host.verify(changed)
        assert none in said or "no provenance" in said, (sig, said)


def test_what_is_signed_as_something_else_is_refused(host):
    payload = json.dumps(host.statement).encode()
    good = host.signer.sign(host.statement)
    for kind in ("text/plain", ""):
        raw = host.signer._key.sign(encoded(kind, payload))
        signature = {"keyid": host.signer.key_id, "sig": base64.b64encode(raw).decode()}
        text = base64.b64encode(payload).decode()
        for claimed in (PAYLOAD_TYPE, kind):
            said = host.verify(
                altered(good, payloadType=claimed, payload=text, signatures=[signature])
            )
            assert "signed by none" in said or "no provenance" in said, said


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "garbage",
        "[]",
        "{}",
        '{"envelopes": {}}',
        '{"envelopes": 5}',
        '{"envelopes": [5]}',
        '{"envelopes": [{"payloadType": "application/vnd.in-toto+json"}]}',
        '{"envelopes": [',
        "\x00\x01",
        "[" * 20000,
    ],
)
def test_malformed_or_truncated_evidence_is_refused(host, raw):
    said = host.verify(raw=raw)
    assert "evidence is malformed" in said or "evidence has no provenance" in said


@pytest.mark.parametrize("payload", ["bm9uZQ==", "e30=", "W10=", "bnVsbA==", "e30Ke30="])
def test_a_signed_payload_that_is_no_statement_is_refused(host, payload):
    raw = host.signer._key.sign(encoded(PAYLOAD_TYPE, base64.b64decode(payload)))
    signature = {"sig": base64.b64encode(raw).decode()}
    said = host.verify({"payloadType": PAYLOAD_TYPE, "payload": payload, "signatures": [signature]})
    assert "evidence is malformed" in said or "no provenance" in said


def test_evidence_that_is_not_there_is_refused(host):
    (host.root / "status").write_text("404")
    assert "it has no evidence: it was published without a signing key" in host.verify()
    for status in ("403", "500", "000"):
        (host.root / "status").write_text(status)
        assert f"could not be read from Consul at http://127.0.0.1:8500 (HTTP {status})" in (
            host.verify()
        )


def test_only_the_first_envelope_is_judged_so_that_many_cost_no_time(host):
    good = host.signer.sign(host.statement)
    rollout = host.signer.sign(host.changed("predicateType", "urn:cicd-canary:rollout:v1"))
    assert host.verify(good, *[rollout] * 99) == "OK"
    assert "no provenance" in host.verify(rollout, good)
    bad = [{"sig": "AAAA"}] * 1000
    assert "signed by none" in host.verify(altered(good, signatures=bad))


def test_two_keys_are_taken_while_one_is_changed_and_a_deleted_one_is_revoked(host):
    new = host.key("2027")
    assert host.verify(new.sign(host.statement)) == "OK"
    assert host.verify(host.signer.sign(host.statement)) == "OK"
    (host.root / "conf/keys/2026.pem").unlink()
    assert host.verify(new.sign(host.statement)) == "OK"
    assert "signed by none of the keys" in host.verify(host.signer.sign(host.statement))


def test_without_any_key_nothing_is_taken(host):
    (host.root / "conf/keys/2026.pem").unlink()
    assert "signed by none of the keys" in host.verify(host.signer.sign(host.statement))


@pytest.mark.parametrize("line", [f"shop {VERSION}", hashlib.sha256(b"the package").hexdigest()])
def test_a_revoked_release_is_refused(host, line):
    revoked = host.root / "conf/revoked"
    revoked.write_text("shop 9\n")
    assert host.verify(host.signer.sign(host.statement)) == "OK"
    revoked.write_text(f"shop 9\n{line}\n")
    assert "it is revoked in " in host.verify(host.signer.sign(host.statement))


def test_an_application_without_a_policy_is_taken(host):
    (host.root / "conf/shop.conf").write_text("KV_PREFIX=cicd\n")
    assert host.verify() == "OK"
    (host.root / "conf/shop.conf").unlink()
    assert host.verify() == "OK"


@pytest.mark.parametrize(
    "arguments", [(), ("shop",), ("shop", VERSION), ("Shop", VERSION, "x"), ("shop", "$(id)", "x")]
)
def test_what_it_cannot_be_asked_is_answered_with_its_usage(host, arguments):
    ran = subprocess.run(
        calling("cicd-verify", RUN, *arguments),
        env={"PATH": os.environ["PATH"], "ROOT": str(host.root)},
        stderr=subprocess.PIPE,
    )
    assert ran.returncode == 2


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="dpkg-deb: not installed")
def test_apt_is_answered_for_our_applications_alone(host):
    def package(name: str, version: str = VERSION) -> str:
        tree = host.root / f"{name}-{version}"
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "DEBIAN/control").write_text(
            f"Package: {name}\nVersion: {version}\nArchitecture: all\n"
            "Maintainer: A <a@acme.example>\nDescription: sample\n"
        )
        file = host.root / f"{name}-{version}.deb"
        subprocess.run(["dpkg-deb", "--build", tree, file], check=True, stdout=subprocess.DEVNULL)
        return str(file)

    other, shop = package("other"), package("shop")
    epoch = package("shop", f"1:{VERSION}")
    sha256 = hashlib.sha256(Path(shop).read_bytes()).hexdigest()
    host.statement["subject"][0]["digest"]["sha256"] = sha256
    (host.root / "evidence").write_text('{"envelopes": []}')
    assert host.run("--apt", stdin=f"{other}\n") == "OK"
    assert host.run("--apt", stdin=f"{other}\n{shop}\n").endswith("no provenance")
    said = host.run("--apt", stdin=f"{epoch}\n")
    assert said == f"shop 1:{VERSION}: that is no version of a release"
    for name in ("shop.ddeb", "shop"):
        shutil.copy(shop, host.root / name)
        assert host.run("--apt", stdin=f"{host.root / name}\n").endswith("no provenance")
    (host.root / "none.deb").write_text("none")
    assert "is no package" in host.run("--apt", stdin=f"{host.root / 'none.deb'}\n")
    evidence = {"envelopes": [host.signer.sign(host.statement)]}
    (host.root / "evidence").write_text(json.dumps(evidence))
    assert host.run("--apt", stdin=f"{other}\n{shop}\n") == "OK"
