"""What ships: the commits of a release, and the difference between two of them."""

from __future__ import annotations

import dataclasses
import json

import pytest
from releases import SETTINGS, published, settled, shop

from delivery.changes import what_ships
from delivery.commits import KEPT, Commit, read_log
from delivery.names import plain
from delivery.releases import File, Release, package_version
from delivery.report import status

GITHUB = "https://github.example"


def sha(number):
    return f"{number:040x}"


def commits(*numbers):
    return [Commit(sha(number), f"Change {number}", "Ada") for number in numbers]


def release(application, build, numbers, **changes):
    """Publishes a release whose newest commits have these numbers; returns its version."""
    version = package_version("1.0", build, sha(numbers[0]))
    application.releases.publish(
        dataclasses.replace(
            Release(
                version=version,
                commit=sha(numbers[0]),
                branch="main",
                repository="acme/shop",
                build=build,
                by="alice",
                package=File(f"shop_{version}_all.deb", f"{build:064x}", 1),
                settings=SETTINGS,
                metadata={},
                commits=commits(*numbers),
            ),
            **changes,
        )
    )
    return version


def line(newest, oldest=1):
    """The commits of a history without branches, as many as a release keeps."""
    return list(range(newest, oldest - 1, -1))[:KEPT]


def test_a_log_is_three_lines_of_each_commit():
    log = f"{sha(2)}\nAda\nFix it\n{sha(1)}\n\n\n".encode()
    assert read_log(log) == [Commit(sha(2), "Fix it", "Ada"), Commit(sha(1), "", "")]
    assert [str(each) for each in read_log(log)] == ["Fix it (Ada)", "0000000 (unknown)"]


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("see {{ config_context.token }}", "see ? config_context.token ?"),
        ("<% ctx(secret) %> {% raw %} {# x #}", "? ctx(secret) ? ? raw ? ? x ?"),
        ("hello @everyone, <!channel> and <@U123>", "hello @ everyone, < !channel> and < @ U123>"),
        ("mail ada@example.org, ada@here.org", "mail ada@example.org, ada@here.org"),
        (
            "release-@everyone .@here +@channel a@all",
            "release-@ everyone .@ here +@ channel a@ all",
        ),
        ("\uff20everyone, \ufe6bhere, \uff1c!channel>", "@ everyone, @ here, < !channel>"),
        ("<https://evil|Approve> <mailto:a@b.c|x>", "< https://evil|Approve> < mailto:a@b.c|x>"),
        ("[Approve](https://evil), a[1] (b)", "[Approve] (https://evil), a[1] (b)"),
        ("@\u061c\u00ade\U000e0041very\ufff9one", "@ everyone"),
        ("a\x1b[31m\x00red\u202ecod\x9b", "a[31mredcod"),
        ("x" * 10_000, "x" * 96 + " ..."),
        (b"caf\xe9".decode("latin-1"), "café"),
    ],
)
def test_a_hostile_subject_is_kept_as_text(written, kept):
    for found in (
        Commit.cleaned(sha(1), written, "Ada").subject,
        read_log(f"{sha(1)}\nAda\n{written}\n".encode())[0].subject,
    ):
        assert found == kept
        assert plain(found) == found


def test_a_line_break_makes_no_second_line():
    assert Commit.cleaned(sha(1), "one\ntwo\r\u2028three", "A\nB") == (
        sha(1),
        "one two three",
        "A B",
    )


def test_what_is_not_utf8_is_kept_all_the_same():
    assert read_log(sha(1).encode() + b"\n\xff\nx\xfe\n")[0].author == "\ufffd"


def test_a_release_keeps_its_commits(store):
    application = shop(store)
    version = release(application, 1, [2, 1])
    assert application.releases.get(version).commits == commits(2, 1)


def test_a_record_that_somebody_wrote_is_cleaned_when_it_is_read(store):
    application = shop(store)
    version = release(application, 1, [1])
    entry = store.get(f"shop/releases/{version}")
    record = json.loads(entry.value)
    record["commits"][0]["subject"] = "{{ config_context.token }}"
    store.commit([store.overwrite(f"shop/releases/{version}", json.dumps(record))])
    assert application.releases.get(version).commits[0].subject == "? config_context.token ?"


def test_fifty_long_commits_fit_into_consul(store):
    application = shop(store)
    long = [Commit.cleaned(sha(each), "€" * 9999, "€" * 9999) for each in line(KEPT)]
    version = release(application, 1, line(KEPT), commits=long)
    assert len(store.get(f"shop/releases/{version}").value) < 100_000
    assert len(application.releases.get(version).commits) == KEPT


@pytest.mark.parametrize(
    ("old", "new", "summary", "added", "removed"),
    [
        ([2, 1], [3, 2, 1], "1 commit", [3], []),
        ([2, 1], [5, 4, 3, 2, 1], "3 commits", [5, 4, 3], []),
        ([2, 1], [2, 1], "no new commit", [], []),
        (line(100), line(103), "3 commits", [103, 102, 101], []),
        (line(10), line(100), f"{KEPT} or more commits", line(100), []),
        # Back, and to another branch.
        ([4, 3, 2, 1], [2, 1], "goes back: 2 commits removed", [], [4, 3]),
        (line(100), line(95), "goes back: 5 commits removed", [], [100, 99, 98, 97, 96]),
        ([8, 7, 2, 1], [9, 2, 1], "1 commit, and 2 commits removed", [9], [8, 7]),
        # The merge of a branch: its commits come before those that were there.
        ([4, 2, 1], [6, 5, 3, 4, 2, 1], "3 commits", [6, 5, 3], []),
    ],
)
def test_what_ships_is_what_only_one_of_the_releases_has(store, old, new, summary, added, removed):
    application = shop(store)
    running, wanted = release(application, 1, old), release(application, 2, new)
    found = what_ships(application, running, wanted, GITHUB)
    assert found.summary == summary
    assert [each.commit for each in found.added.commits] == list(map(sha, added))
    assert [each.commit for each in found.removed.commits] == list(map(sha, removed))


def test_far_back_is_said_to_be_back(store):
    application = shop(store)
    wanted, running = release(application, 1, line(10)), release(application, 2, line(100))
    found = what_ships(application, running, wanted, GITHUB)
    assert found.summary == f"goes back: {KEPT} or more commits removed"


def test_the_text_has_the_first_commits_and_the_link(store):
    application = shop(store)
    running, wanted = release(application, 1, line(1)), release(application, 2, line(8))
    assert what_ships(application, running, wanted, GITHUB).text == "\n".join(
        [
            "Ships: 7 commits",
            *(f"  Change {number} (Ada)" for number in (8, 7, 6, 5, 4)),
            "  ... and 2 more",
            f"  {GITHUB}/acme/shop/compare/{sha(1)[:12]}...{sha(8)[:12]}",
        ]
    )


def test_the_way_back_is_compared_the_other_way_round(store):
    application = shop(store)
    wanted, running = release(application, 1, line(1)), release(application, 2, line(2))
    assert what_ships(application, running, wanted, GITHUB).lines == [
        "- Change 2 (Ada)",
        f"{GITHUB}/acme/shop/compare/{sha(1)[:12]}...{sha(2)[:12]}",
    ]


def test_there_is_no_link_where_there_is_no_such_page(store):
    application = shop(store)
    running = release(application, 1, line(1), repository="acme/old")
    wanted = release(application, 2, line(2))
    assert what_ships(application, running, wanted, GITHUB).link == ""
    assert what_ships(application, wanted, running, "").link == ""


def test_a_first_promotion_ships_all(store):
    application = shop(store)
    wanted = release(application, 1, line(2))
    assert what_ships(application, None, wanted, GITHUB).summary == "2 commits, for the first time"


def test_of_a_release_of_before_they_were_kept_nothing_is_claimed(store):
    application = shop(store)
    running, wanted = release(application, 1, [1], commits=[]), release(application, 2, [2, 1])
    found = what_ships(application, running, wanted, GITHUB)
    assert (found.summary, len(found.lines)) == ("commits not recorded", 1)


def test_a_release_that_cannot_be_read_is_in_nobodys_way(store):
    application = shop(store)
    wanted = release(application, 1, [1])
    assert what_ships(application, "0.1-1.abc", wanted, GITHUB).summary == "commits not recorded"


def test_status_tells_what_would_ship_and_of_one_application_which(store):
    application = shop(store)
    running, wanted = release(application, 1, [1]), release(application, 2, [2, 1])
    for version, stages in ((running, ("canary", "production")), (wanted, ("canary",))):
        for stage in stages:
            settled(application, stage, application.releases.get(version).target)
    of_all, of_one = (status(store, name, GITHUB) for name in (None, "shop"))
    assert of_all["text"].endswith("  next: !deploy promote shop (1 commit)")
    assert of_one["text"].endswith(
        "  next: !deploy promote shop (1 commit)\n"
        "    Change 2 (Ada)\n"
        f"    {GITHUB}/acme/shop/compare/{sha(1)[:12]}...{sha(2)[:12]}"
    )
    assert of_one["applications"][0]["ships"]["added"][0]["commit"] == sha(2)


def test_status_ships_nothing_that_is_in_production_already(store):
    application = shop(store)
    target = published(application)
    for stage in ("canary", "production"):
        settled(application, stage, target)
    assert status(store, "shop")["applications"][0]["ships"] is None
