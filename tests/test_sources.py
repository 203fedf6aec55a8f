"""Which applications a repository holds, as it is configured."""

from __future__ import annotations

import pytest

from delivery.configuration import Configuration
from delivery.errors import DeliveryError
from delivery.sources import Sources

TOOLS = {
    "acme/tools": {
        "branches": ["main", "release/*"],
        "paths": {"services/api": None, "services/web": {"name": "front", "branches": ["main"]}},
    }
}


def test_a_repository_that_is_not_configured_holds_one_application_of_its_name():
    (source,) = Sources({}).of("acme/shop")
    assert (source.app, source.path) == ("shop", "")
    assert source.is_built("main", "main")
    assert not source.is_built("aside", "main")


def test_a_directory_is_an_application_of_its_last_name_unless_it_has_another():
    found = Sources(TOOLS).of("acme/tools")
    assert [(each.app, each.path) for each in found] == [
        ("api", "services/api"),
        ("front", "services/web"),
    ]
    assert [each.app for each in found if each.is_built("release/1", "main")] == ["api"]


def test_the_place_of_an_application_is_found_by_its_name():
    sources = Sources(TOOLS)
    assert sources.of_application("front", "acme/tools").path == "services/web"
    assert sources.of_application("shop", "acme/shop").path == ""
    with pytest.raises(DeliveryError, match="acme/shop has no application shpo; nearest: shop"):
        sources.of_application("shpo", "acme/shop")


def test_capitals_make_no_difference_in_the_name_of_a_repository():
    sources = Sources({"ACME/tools": TOOLS["acme/tools"]})
    assert [each.app for each in sources.of("acme/Tools")] == ["api", "front"]
    assert sources.of_application("front", "acme/tools").path == "services/web"
    sources.refuse_stranger("api", "Acme/tools", "acme/TOOLS")


@pytest.mark.parametrize("repository", ["acme/api", "mallory/front"])
def test_a_repository_is_no_application_that_the_configuration_has_elsewhere(repository):
    sources, name = Sources(TOOLS), repository.rpartition("/")[2]
    message = f"{repository} is not {name}, which is acme/tools services/"
    with pytest.raises(DeliveryError, match=message):
        sources.of(repository)
    with pytest.raises(DeliveryError, match=message):
        sources.of_application(name, repository)


def test_an_application_that_the_repository_does_not_hold_is_answered_with_the_nearest():
    with pytest.raises(DeliveryError, match="acme/tools has no application frnt; nearest: front"):
        Sources(TOOLS).of_application("frnt", "acme/tools")


@pytest.mark.parametrize(
    "path",
    [
        "/etc",
        "../up",
        "a/../b",
        "a//b",
        "a/",
        ".",
        "./a",
        ".git",
        "a/.git/hooks",
        "-rf",
        "a/-b",
        "a b",
        "a\n",
        "a;b",
        "$(x)",
        "{{config_context.x}}",
        "a\\b",
        "",
        "x" * 201,
    ],
)
def test_a_path_that_could_lead_elsewhere_is_refused_where_the_configuration_is_read(path):
    with pytest.raises(DeliveryError, match="paths: .* is not a directory in the repository"):
        Configuration({"applications": {"acme/tools": {"paths": {path: {"name": "api"}}}}})


@pytest.mark.parametrize(
    ("applications", "words"),
    [
        (
            {"acme/a": {"paths": {"x/api": {}, "y/api": {}}}},
            "acme/a x/api and acme/a y/api are both called api; give one of them another name",
        ),
        (
            {"acme/tools": {"paths": {"shop": {}}}, "acme/shop": {"branches": ["main"]}},
            "acme/tools shop and acme/shop are both called shop",
        ),
        ({"acme/a": {"name": "shop", "paths": {"b": {}}}}, "both name and paths"),
        ({"shop": {"branches": ["main"]}}, "shop' is no repository; write owner/name"),
        ({"acme/a": {"paths": ["b"]}}, "paths in .* expected a mapping"),
        ({"acme/a": {"paths": {"b": {"nam": "x"}}}}, "nam in .* unknown key; nearest: .*name"),
        ({"acme/a": {"paths": {"b": {"name": "X"}}}}, "paths.b.name in .* expected"),
    ],
)
def test_a_configuration_that_means_nothing_is_refused(applications, words):
    with pytest.raises(DeliveryError, match=words):
        Configuration({"applications": applications})


def test_a_directory_whose_name_is_no_application_is_told_where_to_set_one():
    with pytest.raises(DeliveryError, match='"paths": {"services/Web_App": {"name": "..."}}'):
        Sources({"acme/a": {"paths": {"services/Web_App": {}}}}).of("acme/a")
