"""Chat commands: what their formats pass, and that each line of chat means one of them."""

from __future__ import annotations

import re
from typing import Any, Iterator

from packengine import aliases, resources
from packengine.lint import formats
from packengine.lint.subject import Subject, argument_problems
from packengine.problems import Problem, guarded

# Characters of a format. Matching one that is much longer takes minutes.
_LONGEST = 2000


def check(subject: Subject) -> Iterator[Problem]:
    """Yields commands that fail, are never understood, or are understood in two ways."""
    usable: list[tuple[resources.Alias, aliases.Alias]] = []
    for resource in subject.aliases:
        alias = aliases.Alias(dict(resource.metadata, pack=resource.pack))
        problems = list(guarded(resource.path, _pattern_problems(resource.path, alias)))
        yield from problems
        if not problems:
            usable.append((resource, alias))
    for resource, alias in usable:
        for found in (
            _parameter_problems(subject, resource.path, alias),
            _acknowledgement_problems(subject, resource.path, alias),
            _ambiguities(resource.path, alias, [other for _, other in usable]),
        ):
            yield from guarded(resource.path, found)


def _pattern_problems(path: str, alias: aliases.Alias) -> Iterator[Problem]:
    for text in alias.get_format_strings():
        if len(text) > _LONGEST:
            what = f'"{text[:40]}..." has {len(text)} characters, more than {_LONGEST}'
            yield Problem(path, what, "shorten the format")
            continue
        try:
            formats.parsed(text)
            aliases.extract_parameters(text, "")
        except aliases.NoMatch:
            continue
        except (re.error, OverflowError, RecursionError) as error:
            yield Problem(path, f'"{text}" is no regular expression: {error}', "correct the format")


def _parameter_problems(subject: Subject, path: str, alias: aliases.Alias) -> Iterator[Problem]:
    action = subject.action(alias.action_ref)
    if action is None:
        return
    taken = action.all_parameters()
    for text in alias.get_format_strings():
        always = {**dict.fromkeys(formats.always_given(text), "{{ x }}")}
        always.update(alias.immutable_parameters)
        sometimes = [name for name in formats.parameters(text) if name not in always]
        for name in sometimes:
            if name not in taken:
                yield Problem(path, f'"{text}": {name} is not known', "leave it out")
        yield from argument_problems(path, f'"{text}": ', taken, always)


def _acknowledgement_problems(
    subject: Subject, path: str, alias: aliases.Alias
) -> Iterator[Problem]:
    """StackStorm is strict about them: a parameter that was not given must not be read."""
    action = subject.action(alias.action_ref)
    if action is None:
        return
    acknowledgement = dict(alias.ack, append_url=False)
    bare = aliases.Alias(dict(alias.metadata, pack=alias.pack, ack=acknowledgement))
    for text in alias.get_format_strings():
        parameters: dict[str, Any] = {
            name: details["default"]
            for name, details in action.all_parameters().items()
            if "default" in details
        }
        parameters.update(dict.fromkeys(formats.always_given(text), "word"))
        parameters.update(alias.immutable_parameters)
        execution = {
            "id": "0",
            "status": "requested",
            "parameters": parameters,
            "action": {"ref": alias.action_ref},
            "context": {"user": "alice"},
        }
        message = aliases.acknowledgement(bare, execution)
        if message is not None and message.text.startswith("Cannot render"):
            yield Problem(
                path, f'"{text}": {message.text}', "read only what every line of the format gives"
            )


def _ambiguities(path: str, alias: aliases.Alias, others: list[aliases.Alias]) -> Iterator[Problem]:
    for text in alias.get_format_strings():
        for command in formats.examples(text):
            matching = [
                (other.ref, other_text)
                for other in others
                for other_text in other.get_format_strings()
                if _matches(other_text, command)
            ]
            if (alias.ref, text) not in matching:
                yield Problem(
                    path,
                    f'nothing that reads like "{command}" matches "{text}"',
                    "write no = outside of placeholders: StackStorm takes key=value for itself",
                )
            elif len(matching) > 1:
                matching.remove((alias.ref, text))
                more = ", ".join(
                    f'"{each}"' if ref == alias.ref else f'"{each}" of {ref}'
                    for ref, each in matching
                )
                yield Problem(
                    path,
                    f'"{command}" also matches {more}, so StackStorm refuses it',
                    "make one of the formats narrower",
                )


def _matches(text: str, command: str) -> bool:
    try:
        aliases.extract_parameters(text, command)
    except aliases.NoMatch:
        return False
    return True
