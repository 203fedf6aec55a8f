"""What a repository's scripts attempt on a build host: each is refused, or has no effect, and
nothing that is not the build's has changed afterwards."""

from __future__ import annotations

import platform
import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from attacker import NOTHING, Attacker
from waiting import wait_for

from sandbox.fleet import (
    APTLY_ROOT,
    BUILD,
    CONSUL,
    CONSUL_URL,
    GITHUB,
    REPOSITORY_HOME,
    WORLD_ADDRESS,
)
from sandbox.world import World

WORLD = ["--canary", "1", "--production", "1"]
SH = "#!/bin/sh\n"
PYTHON = "#!/usr/bin/python3\n"
INTERNET = "203.0.113.7"


@pytest.fixture(scope="module")
def attacker(world: World, tmp_path_factory) -> Attacker:
    return Attacker(world, tmp_path_factory.mktemp("attacker"))


@pytest.fixture(autouse=True)
def nothing_changes(attacker: Attacker):
    before = attacker.state()
    yield
    assert attacker.state() == before
    assert before["of builds"] == []


@pytest.fixture(scope="module", autouse=True)
def internet(world: World):
    """An address that is nobody's own, behind the sandbox's GitHub, and a name server for it."""
    add = ["ip", "address", "add", f"{INTERNET}/32", "dev", "eth0"]
    world.host("github").run(add, check=True)
    build = world.host("build")
    build.run(["ip", "route", "add", INTERNET, "via", GITHUB], check=True)
    build.run(["sh", "-c", f"echo nameserver {WORLD_ADDRESS} > /etc/resolv.conf"], check=True)
    with socket.socket(type=socket.SOCK_DGRAM) as server:
        server.bind((WORLD_ADDRESS, 53))
        threading.Thread(target=answer_names, args=(server,), daemon=True).start()
        yield


def answer_names(server: socket.socket) -> None:
    """Answers every question for an A record with INTERNET."""
    while True:
        question, client = server.recvfrom(512)
        name = question[12 : question.index(b"\0", 12) + 5]
        is_address = name[-4:-2] == b"\0\1"
        header = question[:2] + b"\x81\x80\0\1" + (b"\0\1" if is_address else b"\0\0") + b"\0" * 4
        record = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4" + socket.inet_aton(INTERNET)
        server.sendto(header + name + (record if is_address else b""), client)


def connect(address: str, port: int) -> str:
    return (
        f"{PYTHON}import socket\n"
        f"socket.create_connection(({address!r}, {port}), 5).close()\nprint('connected')\n"
    )


# --- what a build needs -------------------------------------------------------------------------


def test_a_build_reaches_the_internet_by_name(attacker: Attacker):
    verdict = attacker.ci(f"{SH}curl --silent --fail --max-time 5 http://registry.example/ -o x")
    # Whether GitHub's page is there is no matter: 22 is curl's for an answer such as 404.
    assert verdict.passed or "exited with 22" in verdict.reason, verdict


def test_a_build_has_a_loopback_of_its_own(attacker: Attacker):
    program = (
        "import socket\n"
        "server = socket.create_server(('127.0.0.1', 8500))\n"
        "socket.create_connection(('127.0.0.1', 8500)).close()\n"
    )
    assert attacker.ci(PYTHON + program).passed


def test_what_is_reachable_is_configured(attacker: Attacker):
    attacker.values["build"]["reachable"] = [GITHUB]
    try:
        assert attacker.ci(connect(GITHUB, 80)).passed
        assert not attacker.ci(connect(CONSUL, 8500)).passed
    finally:
        del attacker.values["build"]["reachable"]


def test_without_a_network_nothing_is_reached(attacker: Attacker):
    attacker.values["build"]["network"] = "none"
    try:
        verdict = attacker.ci(connect(INTERNET, 80))
        assert "Network is unreachable" in verdict.reason
    finally:
        attacker.values["build"]["network"] = "internet"


# --- the host and others ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/root/.ssh",
        REPOSITORY_HOME,
        APTLY_ROOT,
        "/etc/shadow",
        "/var/tmp/cicd-canary",
        "/etc/ssh",
        "/run/sshd",
        "/etc/consul.d",
        "/var/lib/consul",
        "/sys/fs/cgroup",
        "/dev/loop0",
        "/dev/net/tun",
    ],
)
def test_no_key_and_nothing_of_the_host_is_there(attacker: Attacker, path: str):
    verdict = attacker.ci(f"{SH}ls {path}\n")
    assert re.search("No such file", verdict.reason), verdict


def test_no_package_is_signed(attacker: Attacker):
    verdict = attacker.ci(f"{SH}gpg --list-secret-keys cicd@build && aptly publish list\n")
    assert "No secret key" in verdict.reason


@pytest.mark.parametrize("address", ["127.0.0.1", CONSUL, "198.18.255.2"])
def test_consul_is_not_written_to(attacker: Attacker, address: str):
    url = CONSUL_URL.replace(CONSUL, address)
    verdict = attacker.ci(f"{SH}curl -sS --max-time 5 -X PUT -d x {url}/v1/kv/cicd/shop/x\n")
    assert re.search("Failed to connect|refused|unreachable", verdict.reason), verdict


@pytest.mark.parametrize(
    ("address", "port"),
    [
        (BUILD, 22),
        (BUILD, 8080),
        ("10.77.1.1", 22),
        (GITHUB, 80),
        ("169.254.169.254", 80),
        ("192.168.0.1", 80),
        ("::ffff:10.77.0.10", 8500),
    ],
)
def test_no_other_host_is_reached(attacker: Attacker, address: str, port: int):
    verdict = attacker.ci(connect(address, port))
    assert re.search("No route to host|unreachable|refused|denied", verdict.reason), verdict


def test_binding_to_the_device_leads_around_no_rule(attacker: Attacker):
    program = (
        "import socket\nclient = socket.socket()\n"
        "client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'tap0')\n"
        f"client.settimeout(5)\nclient.connect(({CONSUL!r}, 8500))\n"
    )
    assert not attacker.ci(PYTHON + program).passed


@pytest.mark.parametrize(
    "command",
    [
        "setpriv --reuid 0 id",
        "mount -t tmpfs x /tmp",
        "nft list ruleset",
        "mknod d b 254 0",
        "chroot / id",
        "touch /usr/x",
        "touch /etc/x",
        "touch /x",
        "ip link set lo down",
        "nsenter --net=/proc/1/ns/net id",
        "ls /proc/1/root/",
        "unshare --user --map-root-user id",
        "dmesg --clear",
    ],
)
def test_a_build_has_no_privileges(attacker: Attacker, command: str):
    verdict = attacker.ci(f"{SH}{command}\n")
    assert not verdict.passed
    assert re.search("(?i)permitted|denied|read-only|must be superuser", verdict.log), verdict


NEW_USER = 0x10000000


@pytest.mark.parametrize(
    "call",
    [
        f"272, {NEW_USER}",  # unshare
        f"272, {NEW_USER | 0x00020000}",  # with a mount namespace
        f"56, {NEW_USER | 17}, 0, 0, 0, 0",  # clone
        "435, (ctypes.c_uint64 * 11)(0x10000000, 0, 0, 0, 17), 88",  # clone3
        f"{0x40000000 | 272}, {NEW_USER}",  # unshare of the x32 ABI
    ],
)
def test_a_build_makes_no_user_namespace(attacker: Attacker, call: str):
    if platform.machine() != "x86_64":
        pytest.skip("the numbers of the system calls are those of x86_64")
    program = (
        "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        f"said = libc.syscall({call})\nif said == 0 and os.getpid() == 1: os._exit(0)\n"
        "print(said, os.strerror(ctypes.get_errno()), os.readlink('/proc/self/ns/user'))\n"
        "raise SystemExit(1)\n"
    )
    verdict = attacker.ci(PYTHON + program)
    said = re.search(
        r"-1 (Operation not permitted|Function not implemented) (user:\S+)", verdict.log
    )
    assert said, verdict
    assert said[2] == attacker.build_host.run(["readlink", "/proc/self/ns/user"]).stdout.strip()


def test_nothing_gives_privileges_back(attacker: Attacker):
    verdict = attacker.ci(
        f"{SH}grep -E '^(NoNewPrivs|Cap)' /proc/self/status\n"
        "su -c id root </dev/null; cp /bin/sh s; chmod 4755 s; ./s -pc 'id -u'\nexit 1\n"
    )
    assert "NoNewPrivs:\t1" in verdict.log
    assert set(re.findall(r"Cap\w+:\t(\w+)", verdict.log)) == {"0" * 16}
    assert "uid=0" not in verdict.log


def test_no_process_of_others_is_seen_or_killed(attacker: Attacker):
    verdict = attacker.ci(f"{SH}ls -d /proc/[0-9]* | wc -l\nkill -9 -1\nsleep 1\nexit 1\n")
    assert int(verdict.log.split()[0]) < 8
    assert attacker.build_host.run(["pidof", "sshd", "consul"]).returncode == 0


def test_two_builds_do_not_see_each_other(attacker: Attacker):
    script = (
        f"{SH}echo $$ > /tmp/mine; touch /dev/shm/mine; id -u\n"
        "ls /proc | grep -c '^[0-9]'; ls /tmp /dev/shm; sleep 2\nexit 1\n"
    )
    with ThreadPoolExecutor() as threads:
        commit = attacker.push({"script/x": script})
        both = [attacker.workspace(), attacker.workspace()]
        try:
            for work in both:
                work.check_out(f"{attacker.world.github_url}/acme/shop.git", commit, "main")
            first, second = threads.map(lambda each: each.run_script("script/x", {}, 20), both)
        finally:
            for work in both:
                work.remove()
    assert first.log.split()[0] != second.log.split()[0]
    assert first.log.split()[1:] == second.log.split()[1:]


# --- what outlives a build ----------------------------------------------------------------------

DAEMON = (
    "import os, time, signal\n"
    "for _ in range(2):\n    if os.fork(): os._exit(0) if _ else None\n    os.setsid()\n"
    "[signal.signal(each, signal.SIG_IGN) for each in (1, 2, 15)]\ntime.sleep(600)\n"
)


@pytest.mark.parametrize("ending", ["exit 0", "sleep 600"])
def test_no_daemon_outlives_the_build(attacker: Attacker, ending: str):
    verdict = attacker.ci(
        f'{SH}python3 -c "$DAEMON" & setsid sh -c "sleep 600 &" &\n(setsid setsid sleep 600 &)\n'
        f"trap '' TERM HUP\nsleep 0.5\n{ending}\n".replace("$DAEMON", DAEMON),
        timeout_s=5,
    )
    assert verdict.passed or "timed out after 5 s" in verdict.reason, verdict
    assert verdict.passed == (ending == "exit 0")


# --- limits -------------------------------------------------------------------------------------


def test_a_fork_bomb_ends_with_its_limit_named(attacker: Attacker):
    verdict = attacker.ci(
        f"{PYTHON}import os, time\nfor _ in range(1000):\n    if not os.fork(): time.sleep(600)\n"
    )
    assert verdict.reason == "script/cibuild had more than 64 processes"


def test_a_fork_bomb_that_never_ends_is_ended(attacker: Attacker):
    verdict = attacker.ci(f"{SH}b() {{ b | b & }}\nb\nwhile :; do sleep 1; done\n", timeout_s=5)
    assert not verdict.passed


def test_eating_memory_ends_with_its_limit_named(attacker: Attacker):
    verdict = attacker.ci(f"{PYTHON}x = []\nwhile True: x.append(bytearray(2 ** 20))\n")
    assert verdict.reason == "script/cibuild used more than 256 MiB of memory"


@pytest.mark.parametrize("where", [".", "/tmp", "/dev/shm", "~"])
def test_filling_the_disk_ends_with_its_limit_named(attacker: Attacker, where: str):
    verdict = attacker.ci(f"{SH}cd {where}\nset -e\nexec 3>f\nrm f\ncat /dev/zero >&3\n")
    assert verdict.reason == "script/cibuild used more than 128 MiB of disk"


def test_an_endless_log_ends_with_its_limit_named(attacker: Attacker):
    verdict = attacker.ci(f"{SH}trap '' PIPE\nyes; while :; do yes; done\n")
    assert verdict.reason == "script/cibuild printed more than 1 MiB"


# --- git ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        "git config core.fsmonitor 'touch /root/x'",
        "git config core.hooksPath /build/source",
        "echo 'touch /root/x' > .git/hooks/post-checkout",
        "mv .git .old",
        "rm -r .git",
        "git config filter.x.smudge 'touch /root/x'",
        "echo '* filter=x' > .git/info/attributes",
        "git commit --allow-empty -m mine",
        "ln -sf /tmp/git .git/objects/info/alternates",
    ],
)
@pytest.mark.parametrize("path", ["", "services/api"])
def test_git_is_read_only(attacker: Attacker, command: str, path: str):
    verdict = attacker.ci(f"{SH}cd $(git rev-parse --show-toplevel)\n{command} 2>&1\n", path)
    assert re.search(
        "(?i)read-only|busy|could not lock|unable to (create|write|unlink)|not removed",
        verdict.reason + verdict.log,
    ), verdict
    assert not verdict.passed


def test_git_works_in_a_build(attacker: Attacker):
    assert attacker.ci(f"{SH}set -e\ngit status\ngit describe --always\ngit log -1\n").passed


def test_what_is_planted_beside_git_is_not_run(attacker: Attacker):
    attacker.package(
        f"{SH}printf '* filter=x diff=x\\n' > .gitattributes\necho 'Eve <e@e> <o@o>' > .mailmap\n"
        "mkdir hooks objects refs; echo 'ref: refs/heads/main' > HEAD\n"
        "printf '[core]\\n\\tfsmonitor = touch /root/x\\n\\tbare = true\\n' > config\n"
    )


# --- what a build leaves ------------------------------------------------------------------------


def test_the_metadata_are_the_commits_whatever_the_build_writes(attacker: Attacker):
    package = attacker.package(
        f"{SH}echo 9.9 > VERSION\necho '{{}}' > ../metadata.json\n"
        "echo 'name: pay' > .cicd.yaml\nfind / -name metadata.json -writable 2>/dev/null\ntrue\n"
    )
    assert "Package: shop\nVersion: 1.0-1.x\n" in package[""]


def test_a_link_is_packaged_as_a_link_and_never_followed(attacker: Attacker):
    package = attacker.package(f"{SH}ln -s /etc/shadow shadow\nln -s ../../../etc etc\n")
    assert package["./opt/shop/shadow -> /etc/shadow"].startswith("lrwxrwxrwx root/root")
    assert not [path for path in package if path.startswith("./opt/shop/etc/")]


def test_setuid_and_write_access_are_dropped(attacker: Attacker):
    package = attacker.package(f"{SH}cp /bin/true t\nchmod 6777 t\n")
    assert package["./opt/shop/t"].startswith("-rwxrwxr-x root/root")


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("mkfifo f", "f is neither a file nor a link"),
        ("truncate --size=2T f", "package.root: . has 2097152 MiB; build.limits.disk_mib is 128"),
        (
            "head -c 9M /dev/zero > f; for i in $(seq 50); do ln f $i; done",
            "package.root: . has 459 MiB",
        ),
        ("ln /etc/passwd f", "Invalid cross-device link|not permitted"),
        ("mknod f c 1 3", "not permitted"),
        ("rm script/post-inst; ln -s /etc/shadow script/post-inst", "points outside"),
        ("rm script/post-inst; mkfifo script/post-inst", "neither a file"),
        ("cd ..; mv source old; ln -s /etc source", "busy|denied|Read-only"),
    ],
)
def test_what_is_no_data_of_the_build_is_refused(attacker: Attacker, command: str, reason: str):
    with pytest.raises(Exception, match=reason):
        attacker.package(f"{SH}set -e\n{command}\n")


def test_a_socket_is_not_packaged(attacker: Attacker):
    package = attacker.package(
        f"{PYTHON}import socket\nsocket.socket(socket.AF_UNIX).bind('/build/source/s')\n"
    )
    assert "./opt/shop/s" not in package


@pytest.mark.parametrize("to", ["/etc", "/root", "../../../../network"])
def test_an_application_directory_that_became_a_link_is_refused(attacker: Attacker, to: str):
    with pytest.raises(Exception, match="the application's directory leads outside"):
        attacker.package(
            f"{SH}cd ..\nmv api old\nln -s {to} api\n",
            ", root: ., systemd_unit: x.service",
            path="services/api",
        )


def test_a_link_in_the_way_of_the_packages_own_files_is_refused(attacker: Attacker):
    with pytest.raises(Exception, match="a link is where the package has its usr/share/doc/shop"):
        attacker.package(
            f"{SH}mkdir -p out/share/doc\nln -s /etc out/share/doc/shop\n",
            ", root: out, prefix: /usr",
        )


def test_what_cibuild_was_made_a_link_to_is_not_run(attacker: Attacker):
    """What is committed is refused before; this is made by the script that runs before it."""
    evil = "/usr/lib/../../root/evil"
    attacker.build_host.run(["install", "-m", "755", "/bin/true", "/root/evil"], check=True)
    try:
        commands = f"{SH}ln -sf {evil} script/cibuild\n"
        verdict = attacker.ci(NOTHING, **{"script/cisetup": commands})
        assert verdict.reason.startswith("script/cibuild cannot be run")
    finally:
        attacker.build_host.run(["rm", "/root/evil"], check=True)


def test_a_build_host_without_bubblewrap_builds_nothing(attacker: Attacker):
    attacker.build_host.run(["mv", "/usr/bin/bwrap", "/usr/bin/bwrap.away"], check=True)
    try:
        with pytest.raises(Exception, match="bwrap is not installed; run apt-get install bubbl"):
            attacker.ci(NOTHING)
    finally:
        attacker.build_host.run(["mv", "/usr/bin/bwrap.away", "/usr/bin/bwrap"], check=True)


def test_a_build_whose_command_dies_leaves_nothing_running(attacker: Attacker):
    commit = attacker.push({"script/x": f"{SH}setsid sleep 600 &\nsleep 600\n"})
    work = attacker.workspace()
    work.check_out(f"{attacker.world.github_url}/acme/shop.git", commit, "main")
    with ThreadPoolExecutor() as threads:
        running = threads.submit(work.run_script, "script/x", {}, 100)
        wait_for(lambda: attacker.state()["of builds"])
        attacker.build_host.run(["pkill", "-KILL", "--oldest", "-f", "^sh -c .*isolated"])
        work.remove()
        wait_for(running.done)
