"""Whether everything that a delivery relies on is there, and what to do where it is not.

    findings = examine(configuration)
    print(as_text(findings))

It changes nothing but a key of its own in Consul, and the lists of our APT source on the hosts.
"""

from __future__ import annotations

import contextlib
import shlex
import textwrap
from typing import Any, Callable, Iterator, Mapping, NamedTuple, Sequence

from delivery import ci, consul_token, github, isolation, packaging, repository
from delivery.application import Application, applications
from delivery.clock import now
from delivery.configuration import Configuration
from delivery.discovery import Discovery
from delivery.errors import DeliveryError
from delivery.github_repository import Repository
from delivery.host_check import APPLICATION_HOST, NEEDS
from delivery.names import matches, plain
from delivery.proof.reproduction import second_host
from delivery.records import or_nothing
from delivery.remote import Host, Result
from delivery.rollout.lock import LOCK_TTL_S
from delivery.rollout.steps import CONVERGE
from delivery.store import Store, reaching_consul
from delivery.tools import Tool

WIDTH = 80
REMOTE_TIMEOUT_S = 60
KEY = "doctor"

# Prints the problems. $1 is the address of a repository to try with, or nothing. What the tools
# look at goes before it.
CLONE = """
if [ -n "$1" ] && command -v git >/dev/null; then
    said=$(GIT_TERMINAL_PROMPT=0 timeout 20 git ls-remote "$1" HEAD 2>&1 >/dev/null) ||
        echo "git could not read $1: $(echo "$said" | tail -n 1)"
fi
"""


class Finding(NamedTuple):
    """One check: its subject, whether it passed (None: not applicable), and its message."""

    about: str
    fine: bool | None
    says: str

    def sentence(self) -> str:
        """Returns the message after its subject, unless it begins with that."""
        return self.says if self.says.startswith(self.about) else f"{self.about}: {self.says}"

    def as_dict(self) -> dict[str, Any]:
        return dict(self._asdict())  # pylint: disable=no-member


def examine(configuration: Configuration) -> list[Finding]:
    """Runs every check; a failure is a finding, never an exception."""
    store = configuration.store()
    consul = _finding(f"Consul at {store.url}", lambda: _consul(store))
    findings = [consul]
    example = _a_repository(store) if consul.fine else None
    if consul.fine:
        findings += _token(store)
    findings += _tools(configuration)
    if consul.fine:
        findings += _build_hosts(configuration, example)
        findings += _repository_hosts(configuration)
        findings += _application_hosts(configuration, store)
    findings.append(_finding("times in chat", lambda: f"in {configuration.zone().name}"))
    findings.append(_finding("webhooks", lambda: _receiver(configuration)))
    findings.append(_ci(configuration, store if consul.fine else None))
    findings.append(_github(configuration.section("github"), example))
    return _each_once(findings)


def _each_once(findings: Sequence[Finding]) -> list[Finding]:
    """Returns the findings, those that say the same as one about all of their subjects."""
    subjects: dict[tuple[bool | None, str], list[str]] = {}
    for each in findings:
        about = subjects.setdefault((each.fine, each.says), [])
        if each.about not in about:
            about.append(each.about)
    return [Finding(", ".join(about), *said) for said, about in subjects.items()]


def as_text(findings: Sequence[Finding]) -> str:
    """Returns the findings in 80 columns, problems last."""
    marks = {True: "fine", False: "TO DO", None: "off"}
    ill = [each for each in findings if each.fine is False]
    lines = [
        line
        for each in sorted(findings, key=lambda each: each.fine is False)
        for line in textwrap.wrap(
            f"{marks[each.fine]:<7}{each.sentence()}",
            WIDTH,
            subsequent_indent=" " * 7,
            break_on_hyphens=False,
        )
    ]
    lines.append(f"{len(ill)} to do" if ill else "everything is fine")
    return "\n".join(lines)


def _finding(about: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(about, True, look())
    except DeliveryError as error:
        return Finding(about, False, plain(str(error)))
    except Exception as error:  # a tool's file may be anybody's
        return Finding(about, False, plain(f"{type(error).__name__}: {error}"))


def _consul(store: Store) -> str:
    with reaching_consul(store.url):
        leader = store.client.status.leader()
    if not leader:
        raise DeliveryError("no leader, so writes fail; see consul operator raft list-peers")
    store.commit([store.overwrite(KEY, now())])
    store.commit([store.delete(KEY)])
    store.sessions.close(store.sessions.open("cicd_canary doctor", LOCK_TTL_S))
    return f"has a leader; keys below {store.prefix}/ and sessions are writable"


def _token(store: Store) -> list[Finding]:
    """Returns what the pack's token can do that it need not, and the like."""
    try:
        problems = list(consul_token.examine(store))
    except DeliveryError as error:
        problems = [("the pack's token", plain(str(error)))]
    fine = Finding(
        "the pack's token",
        True,
        f"writes only keys below {store.prefix}/; without a token Consul takes nothing",
    )
    return [Finding(about, False, plain(why)) for about, why in problems] or [fine]


def _tools(configuration: Configuration) -> list[Finding]:
    """Returns which required settings of the packager and the repository are not set."""
    return [
        Finding(f"{tool.role} by {tool.name}", False, problem)
        for tool in (packaging.TOOLS.chosen(configuration), repository.TOOLS.chosen(configuration))
        for problem in tool.missing(configuration.section(tool.role))
    ]


def _build_hosts(configuration: Configuration, example: str | None) -> list[Finding]:
    service = configuration.build_service()
    try:
        hosts = configuration.discovery().service_hosts(service, configuration.build_tag())
        if configuration.section("proof")["builders"] == "two":
            second_host(hosts, hosts[0])
    except DeliveryError as error:
        return [Finding("build hosts", False, str(error))]
    packager = packaging.TOOLS.chosen(configuration)
    script = [
        _needs(["git"], "apt-get install git"),
        _needs(isolation.PROGRAMS, isolation.INSTALLED_BY),
        isolation.CHECK_OF_BUILD_HOST,
        *_checks_of(configuration, ci.TOOLS.chosen(configuration), packager),
    ]
    return _ask(
        configuration,
        hosts,
        "\n".join([NEEDS, *script, CLONE]),
        [configuration.clone_url(example) if example else ""],
        f"build host, with git and {packager.name}",
    )


def _repository_hosts(configuration: Configuration) -> list[Finding]:
    tool = repository.TOOLS.chosen(configuration)
    try:
        hosts = repository.hosts(configuration)
    except DeliveryError as error:
        return [Finding("the repository's host", False, str(error))]
    script = "\n".join([NEEDS, *_checks_of(configuration, tool)])
    user = configuration.section(tool.role)["user"]
    return _ask(configuration, hosts, script, [], f"repository by {tool.name}, of {user}")


def _checks_of(configuration: Configuration, *tools: type[Tool]) -> Iterator[str]:
    """Yields the shell that finds what is wrong on a host that the tools work on."""
    for tool in tools:
        yield _needs(tool.programs, tool.installed_by)
        yield tool.check_of_host(configuration.section(tool.role))


def _needs(programs: Sequence[str], installed_by: str) -> str:
    return f"needs {shlex.quote(' '.join(programs))} {shlex.quote(installed_by)}"


def _application_hosts(configuration: Configuration, store: Store) -> list[Finding]:
    found = _applications_in_consul(store, configuration)
    findings: list[Finding] = []
    hosts = {name: [each.host for each in Discovery(store).instances(name)] for name in found}
    unreachable: set[str] = set()
    for name in found:
        published = "yes" if Application(store, name).releases.versions() else "no"
        findings += _ask(
            configuration,
            [each for each in hosts[name] if each.node not in unreachable],
            APPLICATION_HOST,
            [name, CONVERGE, published, "yes" if store.has_token else "no"],
            f"host of {name}",
            unreachable,
        )
        findings += _left_out(store, name)
    if not found:
        findings.append(
            Finding(
                "application hosts",
                False,
                "no service in Consul has a tag such as shop::app; run cicd-host-setup on "
                "the hosts",
            )
        )
    return findings


def _left_out(store: Store, name: str) -> list[Finding]:
    """Returns the hosts whose tags and whose enrolment differ."""
    discovery = Discovery(store)
    newest = or_nothing(Application(store, name).releases.newest)
    if newest:
        left_out = discovery.left_out(name, newest.role, newest.stages)
    else:  # then its stages are not known yet
        enrolled = discovery.enrolment(name)
        left_out = {
            each.host.node: "is not enrolled for a stage; run cicd-consul-token host --node "
            f"{each.host.node} --app {name} --stage with its stage"
            for each in discovery.instances(name)
            if enrolled is not None and each.host.node not in enrolled
        }
    return [Finding(node, False, plain(f"host of {name}: {why}")) for node, why in left_out.items()]


def _applications_in_consul(store: Store, configuration: Configuration) -> list[str]:
    """Returns the services that carry a tag of their own name, which is what applications do."""
    ours = (configuration.build_service(), configuration.section("repository").get("service"))
    with reaching_consul(store.url):
        _, services = store.client.catalog.services()
    return sorted(
        name
        for name, tags in services.items()
        if name not in ours
        and matches("application", name)
        and any(tag.startswith(f"{name}::") for tag in tags)
    )


def _ask(
    configuration: Configuration,
    hosts: Sequence[Host],
    script: str,
    values: Sequence[str],
    role: str,
    unreachable: set[str] | None = None,
) -> list[Finding]:
    """Runs a script on hosts that prints each host's problems.

    :param unreachable: gets the names of the hosts on which nothing can be run; what is wrong
        there does not depend on their role.
    """
    try:
        results = configuration.ssh().run_many(
            hosts, ["sh", "-c", script, "doctor", *values], timeout_s=REMOTE_TIMEOUT_S
        )
    except DeliveryError as error:
        return [Finding("SSH", False, str(error))]
    if unreachable is not None:
        unreachable.update(each.host.node for each in results if not each.ok)
    return [_of_host(each, role) for each in results]


def _of_host(result: Result, role: str) -> Finding:
    if not result.ok:
        return Finding(str(result.host), False, f"SSH: {plain(result.reason)}")
    problems = plain("; ".join(result.text.splitlines()))
    return Finding(str(result.host), not problems, f"{role}{': ' if problems else ''}{problems}")


def _receiver(configuration: Configuration) -> str:
    if not configuration.section("github").get("webhook_secret"):
        raise DeliveryError(
            "github.webhook_secret is not set in the pack's configuration, or names a key that the "
            "datastore does not have, so the receiver does not start; set it to the secret of "
            "GitHub's webhook"
        )
    receiver = configuration.section("receiver")
    return f"signed; received on {receiver['host']}:{receiver['port']}"


def _ci(configuration: Configuration, store: Store | None) -> Finding:
    def look() -> str:
        server = ci.TOOLS.create(configuration)
        return server.examine([each.name for each in applications(store)] if store else ())

    found = _finding(f"CI by {ci.TOOLS.chosen(configuration).name}", look)
    if found.fine and not found.says:
        return Finding(found.about, None, "no server to check; build hosts run it")
    return found


def _github(settings: Mapping[str, Any], example: str | None) -> Finding:
    if not github.is_configured(settings):
        return Finding(
            "GitHub",
            None,
            "no credentials, so nothing is reported; " + github.HOW_TO_AUTHENTICATE,
        )
    if not example:
        return Finding("GitHub", None, "not checked; no repository has been built yet")
    return _finding(
        "GitHub",
        lambda: (
            f"reachable; the default branch of {example} is "
            f"{Repository(github.GitHub(settings), example).default_branch()}"
        ),
    )


def _a_repository(store: Store) -> str | None:
    """Returns a repository that has been built, to try with."""
    for application in applications(store):
        with contextlib.suppress(DeliveryError):
            return application.releases.newest().repository
    return None
