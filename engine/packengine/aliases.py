"""Action aliases: which action a line of chat means, and what chat is told about it."""

from __future__ import annotations

import ast
import difflib
import json
import re
import sys
from functools import lru_cache
from typing import Any, Callable, ItemsView, Iterable, NamedTuple

from jinja2 import TemplateError, Undefined

from packengine import templates

if sys.version_info >= (3, 11):
    from re import _constants as sre_constants
    from re import _parser as sre_parse
else:
    import sre_constants
    import sre_parse


class NoMatch(ValueError):
    """No format of any alias matches the command."""


class SeveralMatches(ValueError):
    """More than one format matches the command, so StackStorm refuses to choose."""


class Unsupported(ValueError):
    """An alias asks for what this engine does not do."""


# A value in chat is quoted, in braces, or one word. Quotes are stripped, braces are kept.
_QUOTED = r"""""|''|"(.+?)"|'(.+?)'|({.+?})"""
_PAIR = re.compile(r"(?:^\s*|\s+)(\S+?)\s*=(?:" + _QUOTED + r"|(\S+))(?=\s|$)", re.DOTALL)
_PLACEHOLDER = re.compile(
    r"(?P<space>\s*){{\s*(?P<name>[^\s={}]+)\s*"
    r"(?P<optional>=\s*(?:" + _QUOTED + r"|(?P<bare>.+?))\s*)?}}",
    re.DOTALL,
)
# What stands for a placeholder in the pattern of a format. The shortest text that lets the rest
# match: a placeholder in the middle is short, one at the end takes everything.
_ANY_VALUE = r"""["']?(?P<%s>(?:(?<=').+?(?=')|(?<=").+?(?=")|{.+?}|.+?))["']?"""

_BEGINNINGS = (sre_constants.AT_BEGINNING, sre_constants.AT_BEGINNING_STRING)
_ENDS = (sre_constants.AT_END, sre_constants.AT_END_STRING)


class Alias:
    """One alias of a pack, as its metadata file describes it.

    :param metadata: the file's content; `pack` may be given in it or be absent.
    :raises Unsupported: when a format asks for several matches in one line.
    """

    def __init__(self, metadata: dict[str, Any]) -> None:
        self.metadata = metadata
        self.name: str = metadata["name"]
        self.pack: str = metadata.get("pack", "")
        self.ref = f"{self.pack}.{self.name}"
        self.action_ref: str = metadata["action_ref"]
        self.description: str = metadata.get("description") or ""
        self.enabled: bool = metadata.get("enabled", True)
        self.formats: list[Any] = metadata.get("formats") or []
        self.ack: dict[str, Any] = metadata.get("ack") or {}
        self.result: dict[str, Any] = metadata.get("result") or {}
        self.extra: dict[str, Any] = metadata.get("extra") or {}
        self.immutable_parameters: dict[str, Any] = metadata.get("immutable_parameters") or {}
        for entry in self.formats:
            if isinstance(entry, dict) and entry.get("match_multiple"):
                raise Unsupported(f"alias {self.ref}: match_multiple is not supported")

    def get_format_strings(self) -> list[str]:
        """Returns what commands are matched against; the name is StackStorm's."""
        return [text for entry in self.formats for text in _representations(entry)]

    def displays(self) -> list[str]:
        """Returns the formats as people are shown them."""
        shown = [
            entry if isinstance(entry, str) else entry.get("display") for entry in self.formats
        ]
        return [text for text in shown if text]


class Match(NamedTuple):
    """What a command turned out to mean."""

    alias: Alias
    format_string: str
    parameters: dict[str, Any]


class Message(NamedTuple):
    """What chat is told: a text, and what adapters of particular chats may use besides."""

    text: str
    extra: dict[str, Any]


def extract_parameters(format_string: str, command: str) -> dict[str, Any]:
    """Returns the parameters a command gives, by one format string.

    Text outside `{{ }}` is a regular expression; the format must match the whole command.
    `key=value` pairs at the command's end become parameters, and win over placeholders.

    :raises NoMatch: when the command does not have this format.
    """
    rest, pairs = _split_pairs_off(command)
    found = _pattern(format_string).search(f" {rest} ")
    if not found:
        raise NoMatch(f'Command "{command}" doesn\'t match format string "{format_string}"')
    parameters = found.groupdict()
    for name, default in placeholders(format_string).items():
        if default is not None:
            parameters[name] = parameters[name] or default
    parameters.update(pairs)
    if format_string and not rest.strip() and not any(parameters.values()):
        raise NoMatch("No value supplied and no default value found.")
    return parameters


def placeholders(format_string: str) -> dict[str, str | None]:
    """Returns the parameters a format string names, each with its default or None."""
    return {
        each["name"]: "".join(text for text in each.groups()[3:] if text)
        if each["optional"]
        else None
        for each in _PLACEHOLDER.finditer(format_string)
    }


def match(command: str, aliases: Iterable[Alias]) -> Match:
    """Returns the one alias and format a command matches.

    :param command: the line of chat, without the leading `!`.
    :param aliases: those of all packs; disabled ones are left out here.
    :raises NoMatch: naming the nearest commands.
    :raises SeveralMatches: naming the formats that match.
    """
    enabled = [alias for alias in aliases if alias.enabled]
    matches = [found for alias in enabled for found in _matches_of(alias, command)]
    if not matches:
        raise NoMatch(_no_match_text(command, enabled))
    if len(matches) > 1:
        listed = ", ".join(f'"{each.format_string}" of {each.alias.ref}' for each in matches)
        raise SeveralMatches(f'"{command}" matches {len(matches)} commands: {listed}.')
    return matches[0]


def execution_parameters(
    found: Match, schema: dict[str, dict[str, Any]], context: dict[str, Any]
) -> dict[str, Any]:
    """Returns what the action is to be run with.

    :param found: the matched command.
    :param schema: the action's parameters by name; chat's strings are cast to their types.
    :param context: what templates in immutable_parameters see: user, api_user, st2kv ...
    :raises ValueError: when chat sets an immutable parameter, or a value cannot be cast.
    """
    immutable = found.alias.immutable_parameters
    overridden = [name for name in immutable if name in found.parameters]
    if overridden:
        raise ValueError(f"Immutable arguments cannot be overriden: {','.join(overridden)}")
    parameters = dict(found.parameters)
    parameters.update(templates.render_values(immutable, context))
    return {
        name: _cast(name, value, schema.get(name, {}).get("type"))
        for name, value in parameters.items()
    }


def acknowledgement(alias: Alias, execution: dict[str, Any]) -> Message | None:
    """Returns what chat is told when the execution has been asked for, or None for silence.

    :param execution: the execution as StackStorm's API describes one.
    """
    if not alias.ack.get("enabled", True):
        return None
    context = {"execution": execution, "actionalias": alias.metadata}
    text = f"Started {alias.action_ref}."
    if "format" in alias.ack:
        text = _render_or_say_why("format", alias.ack["format"], context)
    if alias.ack.get("append_url", True):
        # StackStorm appends the address of its web page; here the id is what leads further.
        text = f"{text} (execution {execution['id']})"
    extra = alias.ack.get("extra") or {}
    return Message(text, _render_or_say_why("extra", extra, context))


def result_message(alias: Alias, execution: dict[str, Any]) -> Message | None:
    """Returns what chat is told when the execution has ended, or None for silence.

    :param execution: the execution as StackStorm's API describes one.
    :raises jinja2.TemplateError: when a template of the alias is wrong.
    """
    if not alias.result.get("enabled", True):
        return None
    context = {"execution": execution, "alias": alias.metadata, "six": _Six}
    template = alias.result.get("format", _DEFAULT_RESULT)
    # What a result lacks renders as nothing here, where everywhere else it is an error.
    lenient = templates.environment().overlay(undefined=Undefined)
    text = lenient.from_string(template).render(context)
    extra = templates.render_values(alias.result.get("extra") or {}, context)
    # Chat adapters split a message here to put the second part into a box of its own.
    return Message(text.replace("{~}", "\n").strip("\n"), extra)


class _Six:
    """Templates written for StackStorm call six.iteritems."""

    @staticmethod
    def iteritems(mapping: dict[str, Any]) -> ItemsView[str, Any]:
        return mapping.items()


_DEFAULT_RESULT = """\
Action {{ execution.action.ref }} completed.
status : {{ execution.status }}
execution: {{ execution.id }}
{% if execution.elapsed_seconds %}
Took {{ execution.elapsed_seconds | to_human_time_from_seconds }} to complete.
{% endif %}
{% if execution.result %}
result :
--------
{% for line in (execution.result | to_yaml_string).splitlines() %}
{{ line }}
{% endfor %}
{% endif %}
"""


def _split_pairs_off(command: str) -> tuple[str, dict[str, str]]:
    """Returns a command without the `key=value` pairs it ends with, and those pairs.

    StackStorm does this with one pattern that takes exponential time on some lines. This scans,
    and differs only where a quoted value would have to reach past its own closing quote.
    """
    for start in _PAIR.finditer(command):
        pairs, position = {}, start.start()
        found: re.Match[str] | None = start
        while found:
            pairs[found[1]] = "".join(text for text in found.groups()[1:] if text)
            position = found.end()
            found = _PAIR.match(command, position)
        if not command[position:].strip():
            # StackStorm takes every occurrence of that text away, not only the last.
            return command.replace(command[start.start() :], ""), pairs
    return command, {}


def _representations(entry: Any) -> list[str]:
    if isinstance(entry, str):
        return [entry]
    texts = entry.get("representation") or []
    return [texts] if isinstance(texts, str) else list(texts)


def _matches_of(alias: Alias, command: str) -> list[Match]:
    matches = []
    for format_string in alias.get_format_strings():
        try:
            matches.append(Match(alias, format_string, extract_parameters(format_string, command)))
        except NoMatch:
            continue
    return matches


@lru_cache(maxsize=512)
def _pattern(format_string: str) -> re.Pattern[str]:
    text = _PLACEHOLDER.sub(_placeholder_pattern, format_string)
    tokens = sre_parse.parse(text, flags=re.DOTALL)
    if not _has_anchor(tokens, _BEGINNINGS):
        text = r"^\s*" + text
    if not _has_anchor(tokens, _ENDS):
        text += r"\s*$"
    return re.compile(text, re.DOTALL)


def _placeholder_pattern(placeholder: re.Match[str]) -> str:
    text = placeholder["space"] + _ANY_VALUE % placeholder["name"]
    return f"(?:{text})?" if placeholder["optional"] else text


def _has_anchor(tokens: Any, anchors: tuple[Any, ...]) -> bool:
    """Says whether a parsed pattern has one of the anchors, where StackStorm looks for it."""
    for kind, argument in tokens:
        if kind == sre_constants.AT and argument in anchors:
            return True
        if kind == sre_constants.SUBPATTERN and _has_anchor(argument[3], anchors):
            return True
        # Of `a|b` StackStorm looks at the second alternative only; so do we.
        if kind == sre_constants.BRANCH and _has_anchor(argument[1][1], anchors):
            return True
    return False


def _no_match_text(command: str, aliases: list[Alias]) -> str:
    nearest = nearest_displays(command, aliases)
    hint = f" Did you mean: {' or '.join(nearest)}?" if nearest else ""
    return f'No command matches "{command}".{hint} !help lists all commands.'


def nearest_displays(command: str, aliases: list[Alias], count: int = 3) -> list[str]:
    """Returns the formats, as shown to people, that are most like a command; best first."""
    words = command.lower().split()
    scored = sorted(
        (
            (_likeness(fixed_words(text), words), text)
            for text in {text for alias in aliases for text in alias.displays()}
            if words and fixed_words(text)
        ),
        reverse=True,
    )
    # Something like it, and not much less like it than the best.
    least = max(0.6, scored[0][0] - 0.2) if scored else 1
    return [text for score, text in scored if score >= least][:count]


def _likeness(fixed: list[str], typed: list[str]) -> float:
    """Returns how much the first of the typed words are like a command's, from 0 to 1.

    Who leaves out the command's first words is understood too, for a tenth less each.
    """
    return max(
        difflib.SequenceMatcher(
            None, " ".join(fixed[left_out:]).lower(), " ".join(typed[:length])
        ).ratio()
        * 0.9**left_out
        for left_out in range(len(fixed))
        for length in range(1, len(typed) + 1)
    )


def fixed_words(display: str) -> list[str]:
    """Returns a format's words up to its first placeholder, `{{ app }}`, `[app]` or `<app>`."""
    return re.split(r"[\[{<]", display, maxsplit=1)[0].split()


def _render_or_say_why(field: str, template: Any, context: dict[str, Any]) -> Any:
    try:
        return templates.render_values({field: template}, context)[field]
    except TemplateError as error:
        text = f'Cannot render "{field}" in field "ack" for alias. {error}'
        return text if isinstance(template, str) else {"error": text}


def _cast(name: str, value: Any, wanted: str | None) -> Any:
    cast = _CASTS.get(wanted or "")
    if cast is None or not isinstance(value, str):
        return value
    try:
        return cast(value)
    except (ValueError, SyntaxError) as error:
        raise ValueError(
            f'Failed to cast value "{value}" for parameter "{name}" of type "{wanted}": {error}'
        ) from None


def _cast_object(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return ast.literal_eval(text)


_CASTS: dict[str, Callable[[str], Any]] = {
    "array": lambda text: [item.strip() for item in text.split(",")],
    "boolean": lambda text: ast.literal_eval(text.capitalize()),
    "integer": int,
    "number": float,
    "object": _cast_object,
}
