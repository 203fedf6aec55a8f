"""The demo prints 80 columns, and breaks lines between words only."""

from __future__ import annotations

import pytest

from demo import screen
from demo.story import IndentedOutput
from packengine.chat import wrapped

MESSAGE = (
    "Promoting the ready canary to production, batch by batch. Hosts that fail are rolled back. "
    "To stop: !deploy abort shop, and its hosts go back to what they had run before"
)


def test_a_chat_message_is_wrapped_once_and_indented_once(capsys):
    lines = wrapped(MESSAGE, screen.INSET_WIDTH)
    IndentedOutput().write("".join(f"{line}\n" for line in lines))
    first, *others = capsys.readouterr().out.splitlines()
    assert first.startswith("   Promoting")
    assert others and all(line.startswith("     ") and line[5] != " " for line in others)
    assert all(len(line) <= 80 for line in (first, *others))
    assert " ".join([first, *others]).split() == MESSAGE.split()


def test_a_long_event_is_aligned_with_its_first_line(capsys):
    screen.event(12.3, MESSAGE)
    first, *others = capsys.readouterr().out.splitlines()
    assert first.index("Promoting") == 13
    assert others and all(len(line) - len(line.lstrip()) == 13 for line in others)
    assert all(len(line) <= 80 for line in (first, *others))


@pytest.mark.parametrize("true", [True, False])
def test_a_check_is_wrapped_between_words(capsys, true):
    screen.check(MESSAGE, true)
    first, *others = capsys.readouterr().out.splitlines()
    assert first.startswith("   ✓ Promoting" if true else "   ✗ FAILED: Promoting")
    assert others and all(line.startswith("     ") and line[5] != " " for line in others)
    assert all(len(line) <= 80 for line in (first, *others))


def test_an_explanation_has_no_word_cut_in_two(capsys):
    screen.explain(MESSAGE)
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("   ") and len(line) <= 80 for line in lines)
    assert " ".join(lines).split() == MESSAGE.split()
