"""What a suite needs of the StackStorm it is run against, looked at before its first test."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Iterable

import requests
from stackstorm import ApiError, StackStorm

ANSWER_S = 60
SET_URL = "set ST2_API_URL to it, with its version, such as https://stackstorm.example/api/v1"


class Unfit(Exception):
    """A StackStorm lacks something; the text says what, why it is needed and what to do."""


def api(stackstorm: StackStorm, packs: Iterable[str]) -> str:
    """What is needed of the API: an administrator's key, authentication, and these packs.

    :returns: one line that says which StackStorm this is.
    :raises Unfit: where something is missing.
    """
    try:
        version = stackstorm.get("")["version"]
        user = stackstorm.get("user")
    except ApiError as error:
        if error.status == 401:
            raise Unfit(
                "StackStorm refused ST2_API_KEY: it knows no such key; make one with "
                "st2 apikey create -k"
            ) from None
        raise Unfit(f"{stackstorm.url} is no StackStorm's API: {error}; {SET_URL}") from None
    except requests.ConnectionError:
        raise Unfit(f"{stackstorm.url} does not answer: nothing listens there; {SET_URL}") from None
    except (requests.RequestException, ValueError, KeyError) as error:
        raise Unfit(f"{stackstorm.url} is no StackStorm's API: {error!r}; {SET_URL}") from None
    if answers_without_a_key(stackstorm):
        raise Unfit(
            "StackStorm's authentication is off: executions would not tell who started them; set "
            "enable = True in [auth] of st2.conf and restart StackStorm"
        )
    if not user["rbac"]["is_admin"]:
        raise Unfit(
            f"ST2_API_KEY is not an administrator's: {user['username']} may not register packs and "
            "stop sensors; make a key as an administrator with st2 apikey create -k"
        )
    for pack in packs:
        try:
            stackstorm.get(f"packs/{pack}")
        except ApiError as error:
            if error.status != 404:
                raise
            raise Unfit(
                f"the pack {pack} is not installed: it takes part in these tests; install it with "
                "st2 pack install"
            ) from None
    return f"StackStorm {version} at {stackstorm.url}, as {user['username']}"


def answers_without_a_key(stackstorm: StackStorm) -> bool:
    try:
        StackStorm(stackstorm.url, "").get("executions", limit=1)
    except ApiError as error:
        return error.status != 401
    return True


def packs_directory(stackstorm: StackStorm) -> Path:
    """Where StackStorm has its packs, which this process must be able to write to.

    :raises Unfit: where it is not.
    """
    directory = Path(stackstorm.get("packs/packs")["path"]).parent
    if not directory.is_dir():
        raise Unfit(
            f"StackStorm's packs directory {directory} is not on this machine: a pack for these "
            "tests goes there; run them on StackStorm's machine"
        )
    if not os.access(directory, os.W_OK):
        raise Unfit(
            f"StackStorm's packs directory {directory} may not be written to: a pack for these "
            "tests goes there; run them as root"
        )
    return directory


def sudo(stackstorm: StackStorm) -> None:
    """What the action runner needs to kill a shell action whose time is over.

    :raises Unfit: where sudo or pkill is missing, or no action runs.
    """
    try:
        ended = stackstorm.run(
            "core.local", {"cmd": "command -v sudo && command -v pkill"}, timeout_s=ANSWER_S
        )
    except AssertionError:
        raise Unfit(
            f"no action runs: core.local has not ended after {ANSWER_S} s; see that st2scheduler "
            "and st2actionrunner run and reach RabbitMQ and MongoDB"
        ) from None
    if ended["status"] != "succeeded":
        said = (ended["result"].get("stderr") or ended["result"].get("error") or "").strip()
        raise Unfit(
            f"sudo or pkill is not on the action runner's path: core.local {ended['status']}"
            f"{said and ': ' + said}; StackStorm kills a timed-out shell action with sudo pkill "
            "and hangs without, so install sudo and procps and restart st2actionrunner"
        )
