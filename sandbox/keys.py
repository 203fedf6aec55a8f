"""Makes the keys of one world: who may log in, how hosts are known, what signs the packages."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from pathlib import Path

from sandbox.fleet import REPOSITORY_KEY, Host, Keys


def make(directory: Path, hosts: list[Host]) -> Keys:
    """Make all keys at once, and leave the private login key and known_hosts in directory/ssh."""
    ssh = directory / "ssh"
    names = [host.name for host in hosts if host.in_consul]
    made_by_gpg = _start_repository_key(directory / "gnupg")
    generators = [
        subprocess.Popen(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(ssh / name)]
        )
        for name in ["id_ed25519", *names]
    ]
    for program, process in [*(("ssh-keygen", each) for each in generators), ("gpg", made_by_gpg)]:
        if process.wait() != 0:
            raise RuntimeError(f"{program} could not create a key")
    consul_tls = _make_consul_tls(directory / "tls")
    addresses = {host.name: host.address for host in hosts}
    known, host_keys = "", {}
    for name in names:
        kind, key, _ = (ssh / f"{name}.pub").read_text().split()
        known += f"{name},{addresses[name]} {kind} {key}\n"
        host_keys[name] = (ssh / name).read_bytes()
        (ssh / name).unlink()
        (ssh / f"{name}.pub").unlink()
    (ssh / "known_hosts").write_text(known)
    public, home = _take_repository_key(directory / "gnupg")
    authorized = (ssh / "id_ed25519.pub").read_bytes()
    return Keys(authorized, host_keys, public, home, *_make_proof_key(), consul_tls)


def random_secret() -> str:
    return secrets.token_hex(20)


def _make_proof_key() -> tuple[bytes, str]:
    """Return the public and the private key."""
    private = subprocess.run(
        ["openssl", "genpkey", "-algorithm", "ed25519"], stdout=subprocess.PIPE, check=True
    ).stdout
    public = subprocess.run(
        ["openssl", "pkey", "-pubout"], input=private, stdout=subprocess.PIPE, check=True
    ).stdout
    return public, private.decode()


def _make_consul_tls(directory: Path) -> dict[str, bytes]:
    """Consul's own authority, and a certificate of its server and one of its clients.

    The authority's key is not kept: nobody gets another certificate of a server.
    """
    directory.mkdir(mode=0o700)
    for command in ("ca create", "cert create -server", "cert create -client"):
        subprocess.run(
            ["consul", "tls", *command.split()],
            cwd=str(directory),
            check=True,
            stdout=subprocess.DEVNULL,
        )
    names = {"ca.pem": "consul-agent-ca.pem"}
    for role in ("server", "client"):
        names[f"{role}.pem"] = f"dc1-{role}-consul-0.pem"
        names[f"{role}-key.pem"] = f"dc1-{role}-consul-0-key.pem"
    files = {name: (directory / made).read_bytes() for name, made in names.items()}
    shutil.rmtree(directory)
    return files


def _start_repository_key(home: Path) -> subprocess.Popen[bytes]:
    home.mkdir(mode=0o700)
    return subprocess.Popen(
        [
            "gpg",
            "--homedir",
            str(home),
            "--batch",
            "--quiet",
            "--passphrase",
            "",
            "--quick-generate-key",
            f"cicd sandbox <{REPOSITORY_KEY}>",
            "ed25519",
            "sign",
            "never",
        ],
        stderr=subprocess.DEVNULL,
    )


def _take_repository_key(home: Path) -> tuple[bytes, dict[str, bytes]]:
    public = subprocess.run(
        ["gpg", "--homedir", str(home), "--batch", "--export"], stdout=subprocess.PIPE, check=True
    ).stdout
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=True)
    files: dict[str, bytes] = {}
    for path in home.rglob("*"):
        if path.is_file() and not path.name.endswith((".lock", "~")):
            files[str(path.relative_to(home))] = path.read_bytes()
    shutil.rmtree(home)
    return public, files
