"""What StackStorm 3.9 comes with and the engine does not have: refused when used, and no fault."""

from __future__ import annotations

RUNNERS = frozenset(
    {"action-chain", "http-request", "winrm-cmd", "winrm-ps-cmd", "winrm-ps-script"}
)

ACTIONS = frozenset(
    {
        "chatops.format_execution_result",
        "chatops.match",
        "chatops.match_and_execute",
        "chatops.post_result",
        "chatops.run",
        "core.http",
        "core.sendmail",
        "core.winrm_cmd",
        "core.winrm_ps_cmd",
    }
)

TRIGGERS = frozenset(
    {
        "core.st2.CronTimer",
        "core.st2.action.file_written",
        "core.st2.generic.notifytrigger",
        "core.st2.key_value_pair.create",
        "core.st2.key_value_pair.delete",
        "core.st2.key_value_pair.update",
        "core.st2.key_value_pair.value_change",
        "core.st2.sensor.process_exit",
        "core.st2.sensor.process_spawn",
    }
)
