"""The runner types the engine has, and the parameters each adds to an action."""

from __future__ import annotations

from typing import Any, NamedTuple

from packengine.schema import Schema


class RunnerType(NamedTuple):
    """A runner type.

    :ivar parameters: name -> schema, merged under the action's own parameters.
    :ivar output_key: part of the result that the action's output_schema describes.
    """

    name: str
    parameters: dict[str, Schema]
    output_key: str | None


def _text(description: str, **more: Any) -> Schema:
    return dict({"type": "string", "description": description}, **more)


def _flag(description: str, default: bool, **more: Any) -> Schema:
    return dict({"type": "boolean", "description": description, "default": default}, **more)


def _timeout(default: int) -> Schema:
    return {
        "type": "integer",
        "default": default,
        "description": "Seconds after which the action is killed.",
    }


_ENV: Schema = {"type": "object", "description": "Environment variables the action gets."}
_CWD = _text("Directory the command runs in.")
_CMD = _text("Command line the shell runs.")
_KWARG_OP = _text("What stands before the name of a named argument.", default="--")
_CONTENT_VERSION = _text("Revision of the pack's content to use.", required=False)
_DEBUG = _flag("Ask the runner to say more.", False, required=False)
_SUDO: dict[str, Schema] = {
    "sudo": _flag("Run with sudo.", False),
    "sudo_password": _text("Password for sudo.", default=None, required=False, secret=True),
}

_PYTHON: dict[str, Schema] = {
    "debug": _DEBUG,
    "content_version": _CONTENT_VERSION,
    "env": _ENV,
    "timeout": _timeout(600),
    "log_level": _text(
        "Least level that is logged.",
        default="DEBUG",
        enum=["AUDIT", "CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG"],
    ),
}

_LOCAL: dict[str, Schema] = dict(
    _SUDO, cwd=_CWD, env=_ENV, kwarg_op=_KWARG_OP, timeout=_timeout(60)
)

_REMOTE: dict[str, Schema] = dict(
    _SUDO,
    env=_ENV,
    kwarg_op=_KWARG_OP,
    timeout=_timeout(60),
    cwd=_text("Directory the command runs in.", default="/tmp"),
    hosts=_text("Comma-separated hosts, each host or host:port.", required=True),
    port={"type": "integer", "required": False, "description": "SSH port (22)."},
    username=_text("Whom to log in as.", required=False),
    password=_text("Password to log in with.", required=False, secret=True),
    private_key=_text("Private key, or its file name.", required=False, secret=True),
    passphrase=_text("Passphrase of the private key.", required=False, secret=True),
    bastion_host=_text("Host the connections go through.", required=False),
    parallel=_flag("Run on all hosts at once.", False, immutable=True),
)
_REMOTE_DIR = "Directory on the host the script is copied to."

_INQUIRY: dict[str, Schema] = {
    "schema": {
        "type": "object",
        "required": True,
        "description": "JSON schema of the response.",
        "default": {
            "title": "response_data",
            "type": "object",
            "properties": {
                "continue": {
                    "type": "boolean",
                    "description": "Would you like to continue the workflow?",
                    "required": True,
                }
            },
        },
    },
    "route": _text("Lets rules tell inquiries apart.", default="", required=False),
    "roles": {"type": "array", "default": [], "required": False, "description": "Roles (RBAC)."},
    "users": {
        "type": "array",
        "default": [],
        "required": False,
        "description": "Who may respond; empty for everybody.",
    },
    "ttl": {
        "type": "integer",
        "default": 1440,
        "required": True,
        "description": "Minutes after which an unanswered inquiry times out; 0 for never.",
    },
}

_ORQUESTA: dict[str, Schema] = {
    "notify": {
        "type": "array",
        "default": [],
        "uniqueItems": True,
        "description": "Tasks to send notifications for.",
        "items": {"type": "string", "minLength": 1, "pattern": "^\\w+$"},
    }
}

_ANNOUNCEMENT: dict[str, Schema] = {
    "experimental": {"type": "boolean", "required": True, "default": False},
    "route": _text("Routing key.", default="general", minLength=1, maxLength=255),
}

RUNNER_TYPES = {
    runner.name: runner
    for runner in (
        RunnerType("python-script", _PYTHON, "result"),
        RunnerType("orquesta", _ORQUESTA, "output"),
        RunnerType("local-shell-cmd", dict(_LOCAL, cmd=_CMD), None),
        RunnerType(
            "local-shell-script",
            dict(_LOCAL, debug=_DEBUG, content_version=_CONTENT_VERSION),
            None,
        ),
        RunnerType(
            "remote-shell-cmd",
            dict(_REMOTE, cmd=_CMD, dir=_text(_REMOTE_DIR, default="/tmp", immutable=True)),
            None,
        ),
        RunnerType(
            "remote-shell-script", dict(_REMOTE, dir=_text(_REMOTE_DIR, default="/tmp")), None
        ),
        RunnerType("inquirer", _INQUIRY, None),
        RunnerType("announcement", _ANNOUNCEMENT, None),
        RunnerType("noop", {}, None),
    )
}

# What an action's metadata may change about a parameter its runner type brings.
OVERRIDABLE = ("default", "description", "enum", "immutable", "required")
