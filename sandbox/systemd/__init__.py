"""A stand-in for systemd on the sandbox's hosts: `systemctl` and `journalctl` for services.

    unit.py         what a unit's files say
    supervisor.py   runs one service: starts it, restarts it, stops it, keeps its output
    journal.py      that output, and `journalctl`
    systemctl.py    `systemctl`

Each service has a supervisor, a process that outlives the login that started it and ends with the
host. All that descends from it is the service's, however often it forks.

It follows systemd.service(5), systemd.exec(5) and systemctl(1) of systemd 252 in what the unit of
an application needs. It has no other kinds of units, no dependencies and no ordering between units,
no cgroups and no sandboxing; `systemctl status` names a unit's settings that it does not act upon.
systemd itself could run on a host where the machine lets it write to cgroup2, but the groups it
makes there stay behind when a sandbox is killed.
"""
