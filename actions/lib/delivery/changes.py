"""What ships: the commits between what a stage runs and what it is to run.

    changes = what_ships(application, "1.0.0-7.0123abc", "1.1.0-8.4567def", "https://github.com")
    changes.summary     # 3 commits
    changes.text        # the same with the first commits and a link, a line each

It is the difference of two releases' lists of commits (`delivery.commits`), which were read by git
when each was published: nothing is asked of GitHub. The texts are commit messages, and must not
become a task's input.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Collection, Mapping, NamedTuple, Sequence

from delivery.commits import KEPT, Commit
from delivery.names import counted
from delivery.records import or_nothing

if TYPE_CHECKING:
    from delivery.application import Application
    from delivery.releases import Release

SHOWN = 5  # commits in a text


class Difference(NamedTuple):
    """Commits that only one of two releases has, newest first, and whether there may be more."""

    commits: Sequence[Commit]
    more: bool

    def __str__(self) -> str:
        if self.more:
            return f"{len(self.commits)} or more commits"
        return counted(self.commits, "commit")

    def lines(self, before: str) -> list[str]:
        """Returns the first commits, a line each, and how many are left out.

        :param before: what a line begins with.
        """
        shown = [f"{before}{commit}" for commit in self.commits[:SHOWN]]
        left_out = len(self.commits) - SHOWN
        if left_out > 0:
            shown.append(f"{before}... and {left_out} {'or ' if self.more else ''}more")
        return shown


NONE = Difference([], False)


class Changes(NamedTuple):
    """What ships.

    `added` comes with the promotion, `removed` goes with it: then it goes back, or to another
    branch. `first` is set when nothing runs there yet, `known` when the releases have their
    commits recorded; `link` compares the two on GitHub, and is empty where there is no such page.
    """

    added: Difference
    removed: Difference
    first: bool
    known: bool
    link: str

    @property
    def summary(self) -> str:
        """What ships in a few words."""
        if not self.known:
            return "commits not recorded"
        if self.first:
            return f"{self.added}, for the first time"
        if not self.removed.commits:
            return str(self.added) if self.added.commits else "no new commit"
        if not self.added.commits:
            return f"goes back: {self.removed} removed"
        return f"{self.added}, and {self.removed} removed"

    @property
    def lines(self) -> Sequence[str]:
        """The first commits and the link."""
        return [
            *self.added.lines("+ " if self.removed.commits else ""),
            *self.removed.lines("- "),
            *([self.link] if self.link else []),
        ]

    @property
    def text(self) -> str:
        """What ships, a line each: the summary, the first commits, the link."""
        return "\n".join([f"Ships: {self.summary}", *(f"  {line}" for line in self.lines)])

    def as_dict(self) -> Mapping[str, Any]:
        """Returns it as plain data."""
        return {
            "summary": self.summary,
            "added": [each._asdict() for each in self.added.commits],
            "removed": [each._asdict() for each in self.removed.commits],
            "more": self.added.more or self.removed.more,
            "link": self.link,
            "lines": list(self.lines),
        }


def what_ships(application: Application, running: str | None, wanted: str, web_url: str) -> Changes:
    """Returns the commits between two releases.

    :param running: the version that the stage runs now; None when it runs nothing.
    :param wanted: the version that it is to run.
    :param web_url: where the pages of repositories are; empty for no link.
    :returns: nothing known of it when a release cannot be read: no delivery waits for that.
    """
    read = application.releases.get
    new = or_nothing(lambda: read(wanted))
    old = or_nothing(lambda: read(running)) if running else None
    if new and not running:
        return Changes(_all(new), NONE, True, bool(new.commits), "")
    if not (new and old):
        return Changes(NONE, NONE, not running, False, "")
    known = bool(new.commits and old.commits)
    added, removed = _between(old, new) if known else (NONE, NONE)
    back = bool(removed.commits) and not added.commits
    link = _link(web_url, new, old) if back else _link(web_url, old, new)
    return Changes(added, removed, False, known, link)


def _between(old: Release, new: Release) -> tuple[Difference, Difference]:
    """Returns what comes and what goes.

    Each list ends somewhere, so that a commit which is not in the other one's may still be in its
    history. Where one has the other's newest commit, nothing of the other's is missing from it.
    """
    olds = {each.commit for each in old.commits}
    news = {each.commit for each in new.commits}
    if old.commits[0].commit in news:
        return Difference([each for each in new.commits if each.commit not in olds], False), NONE
    if new.commits[0].commit in olds:
        return NONE, Difference([each for each in old.commits if each.commit not in news], False)
    if olds & news:
        return _until(new, olds), _until(old, news)
    return (_all(new), NONE) if not old.is_newer_than(new) else (NONE, _all(old))


def _all(release: Release) -> Difference:
    return Difference(release.commits, len(release.commits) >= KEPT)


def _until(release: Release, shared: Collection[str]) -> Difference:
    """Returns a release's commits since the newest that is shared."""
    own = itertools.takewhile(lambda each: each.commit not in shared, release.commits)
    return Difference(list(own), False)


def _link(web_url: str, base: Release, head: Release) -> str:
    if not web_url or base.repository != head.repository or base.commit == head.commit:
        return ""
    # Digits as in the links of GitHub's own webhooks: the whole would not fit 80 columns.
    return f"{web_url}/{base.repository}/compare/{base.commit[:12]}...{head.commit[:12]}"
