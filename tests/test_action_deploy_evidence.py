from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from action_test_case import ConsulActionTestCase
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from deploy_evidence import DeployEvidence
from releases import published, settled
from signing_keys import private_pem, public_pem

from delivery.proof.envelope import Signer
from delivery.proof.sbom import Sbom
from delivery.proof.statement import provenance, rolled_out
from delivery.releases import File

DOCS = Path(__file__).resolve().parent.parent / "docs/evidence.md"
PACKAGE = b"the package"


class TestDeployEvidence(ConsulActionTestCase):
    action_cls = DeployEvidence

    def setUp(self):
        super().setUp()
        self.key = Ed25519PrivateKey.generate()
        self.pem = private_pem(self.key)
        self.config["proof"] = {"signing_key": self.pem}

    def proven(self, sbom=None, builders=("build-1",)):
        """Publishes a release with evidence; returns it."""
        base = self.shop.releases.get(published(self.shop).version)
        self.shop.builds.start("b" * 40, "acme/shop", "main", "alice")
        self.shop.builds.finish("b" * 40, passed=True)
        sha256 = hashlib.sha256(PACKAGE).hexdigest()
        release = dataclasses.replace(
            base,
            version="2.0-2.bbbbbbb",
            commit="b" * 40,
            build=2,
            package=File("shop_2.0-2.bbbbbbb_all.deb", sha256, len(PACKAGE)),
        )
        stated = provenance(
            "shop", release, self.shop.builds.get("b" * 40), "https://x", builders, "now", sbom
        )
        evidence = self.shop.evidence.begin(release.version, Signer(self.pem).sign(stated))
        self.shop.releases.publish(release, together=[evidence])
        return release

    def test_tells_where_the_newest_release_came_from_and_what_became_of_it(self):
        release = self.proven()
        settled(self.shop, "canary", release.target)
        rollout = self.shop.stages.get("canary").latest()
        signed = Signer(self.pem).sign(rolled_out(release, rollout))
        self.shop.evidence.append(release.version, signed)
        succeeded, result = self.act(app="SHOP", version=None)
        self.assertTrue(succeeded, result)
        first, built, made, canary, signature = result["text"].split("\n")
        self.assertEqual(first, "shop 2.0-2.bbbbbbb")
        sha256 = release.package.sha256[:12]
        self.assertEqual(
            built,
            f"  built of acme/shop, branch main, commit bbbbbbb; package SHA-256 {sha256}",
        )
        self.assertEqual(made, "  made on build-1")
        self.assertRegex(canary, r"^  canary: deploy by alice, 2\d{3}-\d\d-\d\d \d\d:\d\d UTC$")
        self.assertEqual(signature, "  Signed with the pack's present key.")
        self.assertEqual(len(result["evidence"]["envelopes"]), 2)

    def test_tells_the_sbom_that_the_build_has_left(self):
        sbom = Sbom("out/bom.json", "application/vnd.cyclonedx+json", "c" * 64)
        release = self.proven(sbom)
        text = self.act(app="shop", version=release.version)[1]["text"]
        self.assertIn("\n  SBOM out/bom.json (CycloneDX, JSON), SHA-256 cccccccccccc\n", text)

    def test_tells_that_two_build_hosts_have_made_the_same(self):
        version = self.proven(builders=("build-1", "build-2")).version
        text = self.act(app="shop", version=version)[1]["text"]
        self.assertIn("\n  made on build-1 and, the same to the byte, on build-2\n", text)

    def test_production_comes_before_what_is_newer(self):
        release = self.proven()
        older = self.shop.releases.get("1.0-1.aaaaaaa").target
        for stage in ("canary", "production"):
            settled(self.shop, stage, older)
        self.assert_fails("shop 1.0-1.aaaaaaa has no evidence", app="shop", version=None)
        self.assertTrue(self.act(app="shop", version="2.0")[0])
        self.assertEqual(
            self.act(app="shop", version="2.0")[1]["evidence"]["version"], release.version
        )

    def test_says_when_the_key_has_changed_and_what_cannot_be_read(self):
        release = self.proven()
        self.shop.evidence.append(release.version, {"payload": "bm9uZQ=="})
        text = self.act(app="shop", version=None)[1]["text"]
        self.assertIn("\n  a statement that cannot be read\n", text)
        self.assertIn("\n  Not signed with the pack's present key: verify it", text)
        del self.config["proof"]
        self.assertIn("Not signed with", self.act(app="shop", version=None)[1]["text"])

    @unittest.skipUnless(
        shutil.which("openssl") and shutil.which("jq"),
        "openssl, jq: not installed; apt-get install openssl jq",
    )
    def test_the_commands_of_the_docs_verify_it(self):
        release = self.proven()
        evidence = self.act(app="shop", version=None)[1]["evidence"]
        commands = re.search("```sh\n(.*?)```", DOCS.read_text(), re.DOTALL).group(1)
        self.assertEqual(len(commands.strip().splitlines()), 5)
        with tempfile.TemporaryDirectory() as directory:
            place = Path(directory)
            (place / "shop.json").write_text(json.dumps(evidence))
            (place / release.package.file).write_bytes(PACKAGE)
            (place / "cicd-2026.pem").write_text(public_pem(self.key))
            ran = self.run_in(place, commands)
            self.assertEqual(ran.returncode, 0, ran.stderr)
            self.assertIn("Signature Verified Successfully", ran.stdout)
            self.assertIn(f"{release.package.file}: OK", ran.stdout)
            (place / release.package.file).write_bytes(b"another")
            self.assertNotEqual(self.run_in(place, commands).returncode, 0)
            (place / "shop.json").write_text(
                json.dumps(evidence).replace(evidence["envelopes"][0]["payload"][:4], "AAAA")
            )
            self.assertNotEqual(self.run_in(place, commands).returncode, 0)

    @staticmethod
    def run_in(place, commands):
        return subprocess.run(
            ["sh", "-ec", commands],
            cwd=str(place),
            capture_output=True,
            text=True,
        )
