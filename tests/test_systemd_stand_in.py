"""What a unit's files say to the sandbox's stand-in for systemd; on a host, see end_to_end."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sandbox.systemd import journal
from sandbox.systemd.execution import Command, read_environment
from sandbox.systemd.unit import Unit, UnitError, full_name, parse, seconds

TEXT = """\
# a comment
[Unit]
Description=Sells things
After=network.target postgresql.service
Requires=local-fs.target
[Service]
ExecStartPre=/bin/a
ExecStartPre=
ExecStartPre=/bin/b %n \\
    and more
; another
Environment="A=b c" D=e
Environment=F=%p
ProtectSystem=strict
[Install]
WantedBy=multi-user.target
"""


def unit(text: str, name: str = "shop.service") -> Unit:
    return Unit(name, Path("/nosuch"), parse(text))


def test_a_journal_outlives_a_full_disk_and_half_a_line(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "DIRECTORY", tmp_path)
    journal.write("shop", "shop[7]", "one")
    with (tmp_path / "shop.log").open("a") as file:
        file.write("178.1\nhalf a line\n")
    journal.write("shop", "shop[7]", "two")
    assert [line.text for line in journal.read("shop")] == ["one", "two"]
    monkeypatch.setattr(journal, "DIRECTORY", Path("/dev/full"))
    journal.write("shop", "shop[7]", "lost")


def test_a_value_may_be_taken_back_repeated_and_continued():
    found = unit(TEXT)
    assert found.all("Service", "ExecStartPre") == ["/bin/b shop.service      and more"]
    assert found.words("Environment") == ["A=b c", "D=e", "F=shop"]
    assert found.description == "Sells things"
    assert found.wanted_by == ["multi-user.target.wants"]


def test_what_is_not_acted_upon_is_known():
    assert unit(TEXT).not_acted_upon == ["After", "ProtectSystem"]


def test_a_template_knows_its_instance():
    found = unit("[Service]\nExecStart=/bin/x %i %p %%", "web@blue.service")
    assert found.service("ExecStart") == "/bin/x blue web %"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("5", 5), ("100ms", 0.1), ("1min 30s", 90), ("2h", 7200), ("infinity", float("inf"))],
)
def test_spans_of_time(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["soon", "5 parsecs", ""])
def test_what_is_no_span_of_time_is_refused(text):
    with pytest.raises(UnitError, match="is not a span of time"):
        seconds(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[Service]\nType=dbus\nExecStart=/bin/x", "Type=dbus is not supported"),
        ("[Service]\n", "has no ExecStart= setting"),
        ("[Service]\nExecStart=/bin/x\nExecStart=/bin/y", "more than one ExecStart="),
    ],
)
def test_a_unit_that_cannot_be_started_is_refused(text, reason):
    with pytest.raises(UnitError, match=reason):
        unit(text).check()


@pytest.mark.parametrize(
    ("name", "expected"),
    [("shop", "shop.service"), ("web@a.b", "web@a.b.service"), ("shop.service", "shop.service")],
)
def test_names(name, expected):
    assert full_name(name) == expected


@pytest.mark.parametrize("name", ["shop.timer", "../x", "a b"])
def test_other_kinds_of_units_are_refused(name):
    with pytest.raises(UnitError, match="has services only"):
        full_name(name)


@pytest.mark.parametrize(
    ("text", "argv"),
    [
        ("/bin/x ${A} $A 'c d' $$A $B", ["/bin/x", "one two", "one", "two", "c d", "$A"]),
        (":/bin/x $A", ["/bin/x", "$A"]),
        ("@/bin/x y z", ["/bin/x", "z"]),
        ("-/bin/x", ["/bin/x"]),
    ],
)
def test_command_lines(text, argv):
    command = Command.parse(text, {"A": "one two"})
    assert command.argv == argv
    assert command.may_fail == text.startswith("-")


def test_a_file_of_the_environment(tmp_path):
    (tmp_path / "env").write_text("# no\nA=1\n B = 'x y' \n\nnonsense\nC=\"q\"\n")
    assert read_environment(str(tmp_path / "env")) == {"A": "1", "B": "x y", "C": "q"}
    assert read_environment("-/nosuch") == {}
    with pytest.raises(UnitError, match="/nosuch"):
        read_environment("/nosuch")
