"""How a script of a repository runs on a build host: as nobody, with nothing but its checkout.

A workspace has, besides the files of root:

    box/            a file system of its own, as large as the limit: checkout, home/, tmp/
    network         a network namespace of its own, with the rules of what is reachable
    etc/            the few files of /etc that are made for it
    seccomp         the filter of system calls, so that it makes no user namespace
    isolation       the user id that no other workspace of the host has, and the limits

RUN_SCRIPT starts a script in there with bubblewrap: no capabilities, no new privileges, and its own
processes, names, IPC and mounts, in which there is nothing of the host but programs. What it starts
ends with it, because the first process of its PID namespace does. The network is user-mode
(slirp4netns), so nothing of the host's own is changed; the rules are root's, out of its reach.
"""

from __future__ import annotations

import base64
import ipaddress
from typing import TYPE_CHECKING, NamedTuple

from delivery.errors import DeliveryError
from delivery.names import shown
from delivery.seccomp import no_user_namespaces

if TYPE_CHECKING:
    from delivery.configuration import Configuration

# Those of every Debian, but that an image may lack them, are named as well.
PROGRAMS = ("bwrap", "slirp4netns", "nft", "ip", "mkfs.ext4", "setpriv", "flock")
INSTALLED_BY = "apt-get install bubblewrap slirp4netns nftables iproute2 e2fsprogs util-linux"
FIRST_UID, LAST_UID = 64000, 64999


class Isolation(NamedTuple):
    """What the scripts of one workspace may use."""

    network: str
    reachable: tuple[str, ...]
    memory_mib: int
    processes: int
    disk_mib: int
    log_mib: int

    @classmethod
    def configured(cls, configuration: Configuration) -> Isolation:
        """Returns what section `build` of the configuration allows.

        :raises DeliveryError: for a reachable address that is none.
        """
        section = configuration.section("build")
        for address in section["reachable"]:
            try:
                ipaddress.IPv4Network(address)
            except ValueError:
                raise DeliveryError(
                    f"build.reachable in the pack's configuration: {shown(address)} is no IPv4 "
                    "address and no network such as 10.1.2.0/24"
                ) from None
        return cls(section["network"], tuple(section["reachable"]), **section["limits"])

    def arguments(self) -> list[str]:
        """Returns what CREATE takes, after its own."""
        return [
            " ".join(PROGRAMS),
            INSTALLED_BY,
            f"{FIRST_UID}-{LAST_UID}",
            self.network,
            ", ".join(self.reachable),
            *map(str, (self.memory_mib, self.processes, self.disk_mib, self.log_mib)),
            base64.b64encode(no_user_namespaces()).decode(),
        ]


# What the doctor looks for besides PROGRAMS.
CHECK_OF_BUILD_HOST = """
[ -c /dev/loop-control ] || echo "no loop devices, which builds need; run modprobe loop"
[ -c /dev/net/tun ] || echo "no /dev/net/tun, which builds need; run modprobe tun"
"""

# Shell functions for the scripts of a workspace, which is "$1" of each.
FUNCTIONS = r"""
fail() { printf '%s\n' "$1" >&2; exit 1; }
end_processes() {       # all of the build's user, which are those of no other workspace
    read -r uid rest 2>/dev/null < "$1/isolation" || return 0
    attempts=100
    while grep -qsE "^Uid:[[:space:]]$uid[[:space:]]" /proc/[0-9]*/status; do
        setpriv --reuid "$uid" --regid "$uid" --clear-groups sh -c 'kill -KILL -1' 2>/dev/null || :
        attempts=$((attempts - 1))
        [ $attempts -gt 0 ] || fail "processes of user $uid do not end; restart this host"
        sleep 0.02
    done
}
discard() {
    end_processes "$1"
    for mounted in network box; do
        umount "$1/$mounted" 2>/dev/null || umount --lazy "$1/$mounted" 2>/dev/null || :
    done
    rmdir "/sys/fs/cgroup/cicd-canary-${1##*/}" 2>/dev/null || :
    rm -rf --one-file-system -- "$1"
}
"""

# Goes into CREATE: makes what is around the builds of $workspace, a new directory below $root.
# A build does not reach addresses for private and special use (RFC 6890), nor the networks that the
# host itself is in.
PREPARE = r"""
prepare() {     # $1 user ids, $2 network, $3 what is reachable, $4 to $7 limits, $8 the filter
    uids=$1 network=$2 reachable=$3 memory_mib=$4 processes=$5 disk_mib=$6 log_mib=$7
    exec 9<"$root"
    flock 9
    for uid in $(shuf --input-range="$uids"); do
        grep -qs "^$uid " "$root"/*/isolation || getent passwd "$uid" >/dev/null || break
    done
    echo "$uid $memory_mib $processes $disk_mib $log_mib $network" > "$workspace/isolation"
    exec 9<&-
    echo "$8" | base64 --decode > "$workspace/seccomp"

    truncate --size="${disk_mib}M" "$workspace/box.img"
    # The seed decides in which order a directory is read: it is the same on every build host.
    mkfs.ext4 -q -F -m 0 -O ^has_journal \
        -E lazy_itable_init=1,nodiscard,hash_seed=c1cdca4a-0000-4000-8000-000000000000 \
        "$workspace/box.img"
    mkdir "$workspace/box" "$workspace/etc"
    mount -o loop,nosuid,nodev "$workspace/box.img" "$workspace/box" 2>"$workspace/mount.log" ||
        fail "no file system for a build: $(tail -n 1 "$workspace/mount.log"); a build host needs \
loop devices"
    chmod 755 "$workspace/box" "$workspace/etc"
    rmdir "$workspace/box/lost+found"
    for directory in home tmp shm; do
        mkdir "$workspace/box/$directory"
        chown "$uid:$uid" "$workspace/box/$directory"
    done

    (
        cd "$workspace/etc"
        umask 022
        printf '%s\n' 'root:x:0:0:root:/root:/usr/sbin/nologin' \
            "build:x:$uid:$uid:build:/build/home:/bin/sh" \
            'nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin' > passwd
        printf '%s\n' 'root:x:0:' "build:x:$uid:" 'nogroup:x:65534:' > group
        { cat /etc/hosts; echo 127.0.1.1 build; } > hosts
        echo 'nameserver 198.18.255.3' > resolv.conf
        # The checkout is the build's, its .git is root's.
        printf '[safe]\n\tdirectory = *\n' > gitconfig
    )

    touch "$workspace/network"
    unshare --net="$workspace/network" ip link set lo up
    [ -z "$reachable" ] || reachable="elements = { $reachable }"
    own=$(ip -4 -o address show | awk '{ printf ", %s", $4 }')
    nsenter --net="$workspace/network" nft -f - 2>"$workspace/nft.log" <<RULES ||
table inet build {
    set reachable {
        type ipv4_addr; flags interval; auto-merge
        $reachable
    }
    set refused {
        type ipv4_addr; flags interval; auto-merge
        elements = {
            0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, 172.16.0.0/12,
            192.0.0.0/24, 192.168.0.0/16, 198.18.0.0/15, 224.0.0.0/3$own
        }
    }
    chain output {
        type filter hook output priority 0; policy accept
        oif "lo" accept
        ip daddr 198.18.255.3 meta l4proto { tcp, udp } th dport 53 accept
        ip daddr @reachable accept
        ip daddr @refused reject with icmpx type admin-prohibited
        meta nfproto ipv6 reject with icmpx type admin-prohibited
    }
}
RULES
        fail "no rules for the network of a build: $(head -n 1 "$workspace/nft.log")"
}
"""

# $1 the script, $2 seconds, $3 bytes and $4 lines of the log to print, then variables. Prints the
# exit status and when it began and ended, a line with the limit that it reached or nothing, and
# the end of its log. The list of /etc is what programs and languages read there, and no secrets.
RUN_SCRIPT = r"""
path=$1 seconds=$2 log_bytes=$3 log_lines=$4
shift 4
read -r uid memory_mib processes disk_mib log_mib network < isolation
link=$(readlink source)
top=/build/${link#box/}
[ ! -d box/checkout ] || top=/build/checkout
etc="alternatives bash.bashrc ca-certificates debian_version fonts gemrc host.conf java-* ld.so.*
    localtime lsb-release magic maven* mime.types networks npmrc nsswitch.conf os-release perl php
    pip.conf profile protocols python3* rpc services shells ssl/certs ssl/openssl.cnf terminfo
    timezone"

limits() {      # in a cgroup where the host has those of version 2, else of each process
    limited=
    cgroup=/sys/fs/cgroup/cicd-canary-${workspace##*/}
    if grep -qsw memory /sys/fs/cgroup/cgroup.controllers &&
            grep -qsw pids /sys/fs/cgroup/cgroup.controllers &&
            echo '+memory +pids' 2>/dev/null > /sys/fs/cgroup/cgroup.subtree_control &&
            mkdir -p "$cgroup" 2>/dev/null; then
        echo "${memory_mib}M" > "$cgroup/memory.max"
        echo 0 2>/dev/null > "$cgroup/memory.swap.max" || :
        echo 1 > "$cgroup/memory.oom.group"
        echo "$processes" > "$cgroup/pids.max"
        echo 0 > "$cgroup/cgroup.procs"
    else
        limited="prlimit --nproc=$processes --data=$((memory_mib * 1048576))"
    fi
}

isolated() {    # "$@" in the isolation
    set -- --chdir "/build/${link#box/}" --remount-ro / -- \
        setpriv --reuid "$uid" --regid "$uid" --clear-groups --inh-caps=-all --bounding-set=-all \
        --no-new-privs -- env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        HOME=/build/home USER=build LOGNAME=build SHELL=/bin/sh LANG=C.UTF-8 "$@"
    for directory in bin sbin lib lib32 lib64 libx32; do
        if [ -L "/$directory" ]; then
            set -- --symlink "$(readlink "/$directory")" "/$directory" "$@"
        elif [ -d "/$directory" ]; then
            set -- --ro-bind "/$directory" "/$directory" "$@"
        fi
    done
    # shellcheck disable=SC2086 # patterns
    for name in $(cd /etc && ls -d $etc 2>/dev/null); do
        set -- --ro-bind "/etc/$name" "/etc/$name" "$@"
    done
    for name in dpkg gems; do
        [ ! -d "/var/lib/$name" ] || set -- --ro-bind "/var/lib/$name" "/var/lib/$name" "$@"
    done
    for name in passwd group hosts resolv.conf gitconfig; do
        set -- --ro-bind "etc/$name" "/etc/$name" "$@"
    done
    # shellcheck disable=SC2086 # a command and its options
    exec $limited nsenter --net=network timeout --kill-after=10 "$seconds" bwrap \
        --unshare-pid --unshare-ipc --unshare-uts --unshare-cgroup-try --hostname build \
        --die-with-parent --new-session --seccomp 8 \
        --cap-drop ALL --cap-add CAP_SETUID --cap-add CAP_SETGID --cap-add CAP_SETPCAP \
        --dir /build --dir /etc --dir /etc/ssl --dir /var --dir /var/lib \
        --ro-bind /usr /usr --proc /proc --dev /dev --bind box/shm /dev/shm \
        --bind box/tmp /tmp --symlink /tmp /var/tmp --bind box/home /build/home \
        --bind "box/${top#/build/}" "$top" --ro-bind "box/${top#/build/}/.git" "$top/.git" "$@" \
        8<seccomp
}

# It ends with this shell, whatever becomes of that.
if [ "$network" = internet ]; then
    rm -f connected
    setpriv --pdeathsig KILL slirp4netns --configure --mtu=65520 --cidr=198.18.255.0/24 \
        --disable-host-loopback --enable-sandbox --enable-seccomp --netns-type=path --ready-fd=3 \
        network tap0 3>connected >slirp4netns.log 2>&1 &
    connection=$!
    while [ ! -s connected ]; do
        kill -0 "$connection" 2>/dev/null || fail "slirp4netns: $(tail -n 1 slirp4netns.log)"
        sleep 0.01
    done
fi
mkdir -p log
log=log/$(basename "$path").log
started=$(date +%s.%N)
(
    set +e
    (
        set -e
        limits
        isolated "$@" CI=true "./$path"
    ) </dev/null 2>&1
    echo $? > status
) | {
    head --bytes="${log_mib}M" > "$log"
    [ "$(stat --format=%s "$log")" -lt "$((log_mib * 1048576))" ] || end_processes .
}
ended=$(date +%s.%N)
end_processes .
if [ "$network" = internet ]; then
    kill "$connection" 2>/dev/null || :
    wait "$connection" 2>/dev/null || :
fi

count() { sed -n "s/^$2 //p" "$cgroup/$1" 2>/dev/null || :; }
said() { tail -c 65536 "$log" | grep -aqiE "$1"; }
cgroup=/sys/fs/cgroup/cicd-canary-${workspace##*/}
reached=
if [ "$(stat --format=%s "$log")" -ge "$((log_mib * 1048576))" ]; then
    reached="printed more than $log_mib MiB"
elif [ "$(count memory.events oom_kill)" -gt 0 ] 2>/dev/null; then
    reached="used more than $memory_mib MiB of memory"
elif [ "$(count pids.events max)" -gt 0 ] 2>/dev/null; then
    reached="had more than $processes processes"
elif said 'No space left on device|ENOSPC'; then
    reached="used more than $disk_mib MiB of disk"
elif said 'Resource temporarily unavailable|EAGAIN|Cannot fork' && said 'fork|thread|spawn'; then
    reached="had more than $processes processes"
elif said 'Cannot allocate memory|MemoryError|OutOfMemory|out of memory|bad_alloc|ENOMEM'; then
    reached="used more than $memory_mib MiB of memory"
fi
rmdir "$cgroup" 2>/dev/null || :
echo "$(cat status) $started $ended"
echo "$reached"
tail -c "$log_bytes" "$log" | tail -n "$log_lines"
"""
