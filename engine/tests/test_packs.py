"""What is refused when packs and configurations are read, and how it is said."""

from __future__ import annotations

import time

import pytest

from packengine.config import ConfigError
from packengine.packs import PackError, Refused, Registry, UnknownReference


def problems(pack):
    try:
        found = Registry([str(pack.path)]).problems
    except PackError as refused:
        found = refused.problems
    return [problem.line(str(pack.path)) for problem in found]


def test_all_problems_are_listed_each_with_its_file_and_what_to_do(pack):
    pack.action("one", runner="http-request")
    pack.file("actions/two.yaml", "name: two\nrunner_type: noop\nunknown: 1\n")
    assert problems(pack) == [
        "actions/one.yaml: the engine does not have the runner http-request; run it on StackStorm",
        "actions/two.yaml: unknown is not known; remove it, or correct its spelling",
    ]


def test_what_can_be_read_of_a_pack_runs_and_the_rest_is_refused_by_name(pack, make_engine):
    pack.action("good")
    pack.action("chain", runner="action-chain", entry_point="chain.yaml")
    pack.file("actions/broken.yaml", "name: [")
    pack.rule("often", {"type": "core.st2.CronTimer"}, "test.good")
    engine = make_engine()
    assert engine.run("test.good").status == "succeeded"
    with pytest.raises(Refused, match="does not have the runner action-chain; run it on Stack"):
        engine.run("test.chain")
    with pytest.raises(Refused, match=r"actions/broken.yaml: .*; correct the file"):
        engine.run("test.broken")
    with pytest.raises(Refused, match=r"does not have the trigger type core\.st2\.CronTimer"):
        engine.enable_rule("test.often")
    with pytest.raises(UnknownReference, match="Did you mean test.good"):
        engine.run("test.god")


def test_an_action_of_stackstorm_that_the_engine_does_not_have_is_refused_by_name(make_engine):
    with pytest.raises(Refused, match=r"core\.sendmail: the engine does not have this action"):
        make_engine().run("core.sendmail")


def test_an_action_whose_policy_cannot_be_applied_does_not_run(pack, make_engine):
    policy = {"name": "p", "resource_ref": "test.one", "policy_type": "action.magic"}
    pack.action("one")
    pack.metadata("policies/p.yaml", **policy)
    with pytest.raises(Refused, match="there is no policy type action.magic"):
        make_engine().run("test.one")
    pack.metadata("policies/p.yaml", **policy, enabled=False)
    assert make_engine().run("test.one").status == "succeeded"


def test_no_action_runs_with_a_configuration_schema_that_cannot_be_read(pack, make_engine):
    pack.action("one")
    pack.file("config.schema.yaml", "key: {type: text}\n")
    execution = make_engine().run("test.one")
    assert execution.status == "failed"
    assert "config.schema.yaml: " in execution.result["error"]


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("actions/a.yaml", "name: a\n", "runner_type is required"),
        ("actions/a.yaml", "name: a\nrunner_type: noop\nenabled: 'yes'\n", "enabled: 'yes'"),
        (
            "actions/a.yaml",
            "name: a\nname: b\nrunner_type: noop\n",
            "the key 'name' is there twice",
        ),
        ("actions/a.yaml", "name: [", "actions/a.yaml"),
        ("actions/a.yaml", "name: a\nrunner_type: noop\npack: other\n", 'says pack "other"'),
        (
            "actions/a.yaml",
            "name: a\nrunner_type: noop\nparameters: {p: {type: text}}\n",
            "parameters.p",
        ),
        (
            "actions/a.yaml",
            "name: a\nrunner_type: noop\nparameters: {p: {kind: string}}\n",
            "parameters.p.kind is not known",
        ),
        (
            "actions/a.yaml",
            "name: a\nrunner_type: noop\nparameters: {p: {type: [string]}}\n",
            "parameters.p",
        ),
        (
            "actions/a.yaml",
            "name: a\nrunner_type: noop\nparameters: {p-q: {type: string}}\n",
            "p-q",
        ),
        (
            "actions/a.yaml",
            "name: a\nrunner_type: noop\nparameters: {p: {immutable: true}}\n",
            "needs a default",
        ),
        (
            "actions/a.yaml",
            "name: a\nrunner_type: noop\nparameters: {p: {position: 0}, q: {position: 0}}\n",
            "have the same position",
        ),
        (
            "actions/a.yaml",
            "name: a\nrunner_type: noop\nparameters: {p: {position: 0}, q: {position: 2}}\n",
            "without a gap",
        ),
        (
            "actions/a.yaml",
            "name: a\nrunner_type: python-script\nparameters: {timeout: {type: string}}\n",
            "its type cannot be changed",
        ),
        (
            "actions/a.yaml",
            "name: a\nrunner_type: noop\noutput_schema: {type: thing}\n",
            "output_schema",
        ),
        (
            "policies/p.yaml",
            "name: p\nresource_ref: test.a\npolicy_type: action.magic\n",
            "there is no policy type action.magic",
        ),
        (
            "policies/p.yaml",
            "name: p\nresource_ref: test.a\npolicy_type: action.retry\n",
            "is required",
        ),
        (
            "rules/r.yaml",
            "name: r\ntrigger: {type: core.st2.CronTimer}\naction: {ref: core.noop}\n",
            "does not have the trigger type core.st2.CronTimer",
        ),
        (
            "rules/r.yaml",
            "name: r\ntrigger: {type: test.nothing}\naction: {ref: core.noop}\n",
            "the pack test has no trigger test.nothing",
        ),
        (
            "rules/r.yaml",
            "name: r\ntrigger: {type: core.st2.webhook}\naction: {ref: core.noop}\n",
            "trigger.parameters.url is required",
        ),
        (
            "rules/r.yaml",
            "name: r\ntrigger: {type: core.st2.webhook, parameters: {url: x}}\n"
            "action: {ref: core.noop}\ncriteria: {trigger.body.x: {type: like, pattern: x}}\n",
            "does not have the operator like",
        ),
        (
            "rules/r.yaml",
            "name: r\ntrigger: {type: core.st2.webhook, parameters: {url: x}}\n"
            "action: {ref: core.noop}\ncriteria: {trigger.body.x: {type: exists}}\n",
            "has no pattern, which registration asks for",
        ),
        (
            "rules/r.yaml",
            "name: r\ntrigger: {type: core.st2.webhook, parameters: {url: x}}\n"
            "action: {ref: core.noop}\ncriteria: {trigger..x: {type: exists, pattern: true}}\n",
            "does not have the JSONPath of trigger..x",
        ),
        ("sensors/s.yaml", "class_name: S\n", "entry_point is required"),
        ("aliases/a.yaml", "name: a\nformats: [x]\n", "action_ref is required"),
        ("pack.yaml", "name: test\ndescription: d\nversion: '1'\nauthor: a\n", "version"),
        ("config.schema.yaml", "key: {type: text}\n", "config.schema.yaml"),
    ],
)
def test_metadata_that_stackstorm_or_the_engine_refuses(pack, path, text, message):
    pack.file(path, text)
    assert message in "\n".join(problems(pack))


def test_of_two_resources_of_one_name_none_is_used(pack, make_engine):
    pack.action("same")
    pack.metadata("actions/other.yaml", name="same", runner_type="noop")
    assert problems(pack) == [
        "actions/same.yaml: there is already an action test.same; rename one of the two"
    ]
    with pytest.raises(Refused, match="there is already"):
        make_engine().run("test.same")


def test_a_directory_without_pack_yaml_is_no_pack(make_engine, tmp_path):
    with pytest.raises(PackError, match="not a pack, it has no pack.yaml"):
        make_engine(packs=[str(tmp_path / "configs")])


def test_a_packs_ref_is_its_directory_when_it_says_none(pack, make_engine):
    pack.file("pack.yaml", "name: Test Pack\ndescription: d\nversion: 0.1.0\nauthor: a\n")
    pack.action("one")
    assert "test.one" in make_engine().registry.actions


def settings(make_engine, user=None):
    return make_engine().config("test", user)


def test_settings_have_the_schemas_defaults_also_in_nested_objects(pack, make_engine):
    pack.file(
        "config.schema.yaml",
        """
        url: {type: string, default: "http://x"}
        nested:
          type: object
          properties:
            port: {type: integer, default: 8080}
            host: {type: string}
        apps:
          type: object
          additionalProperties:
            type: object
            properties:
              size: {type: integer, default: 1}
        """,
    )
    pack.config("nested: {host: h}\napps: {a: {}}\n")
    assert settings(make_engine) == {
        "url": "http://x",
        "nested": {"host": "h", "port": 8080},
        "apps": {"a": {"size": 1}},
    }


def test_settings_without_a_file_are_the_defaults(pack, make_engine):
    pack.file(
        "config.schema.yaml",
        """
        nested: {type: object, properties: {port: {type: integer, default: 8080}}}
        """,
    )
    assert settings(make_engine) == {"nested": {"port": 8080}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("urk: x", "unknown key urk, nearest: url"),
        ("url: 5", "url: 5 is not of type"),
        ("nested: {prt: 5}", "nested.prt is not known, nearest: port"),
        ("nested: {}", "nested.port is required"),
        ("- a", "must hold keys and values"),
        ("url: [", "test.yaml"),
        ("secret: '{{ st2kv.system.x | decrypt_kv }}'", "leave out decrypt_kv"),
    ],
)
def test_settings_that_do_not_fit_are_refused(pack, make_engine, text, message):
    pack.file(
        "config.schema.yaml",
        """
        url: {type: string}
        secret: {type: string, secret: true}
        nested:
          type: object
          properties: {port: {type: integer, required: true}}
          additionalProperties: false
        """,
    )
    pack.config(text)
    with pytest.raises(ConfigError) as refused:
        settings(make_engine)
    assert message in str(refused.value)
    assert str(pack.config_dir / "test.yaml") in str(refused.value)


def test_settings_that_do_not_fit_fail_the_action_that_needs_them(pack, make_engine):
    pack.file("config.schema.yaml", "url: {type: string}")
    pack.config("url: 5")
    pack.python("look", "return 1")
    execution = make_engine().run("test.look")
    assert execution.status == "failed"
    assert "url: 5 is not of type" in execution.result["error"]


def test_settings_come_from_the_datastore(pack, make_engine):
    pack.file(
        "config.schema.yaml",
        """
        token: {type: string, secret: true}
        plain: {type: string}
        own: {type: string}
        list: {type: array, items: {type: string}}
        """,
    )
    pack.config("""
        token: "{{ st2kv.system.token }}"
        plain: "{{ st2kv.system.plain }}"
        own: "{{ st2kv.user.own }}"
        list: ["{{ st2kv.system.plain }}"]
        """)
    engine = make_engine()
    engine.store.keys.set("token", "t0k", secret=True)
    engine.store.keys.set("plain", "p")
    engine.store.keys.set("alice:own", "hers", scope="user")
    assert engine.config("test", "alice") == {
        "token": "t0k",
        "plain": "p",
        "own": "hers",
        "list": ["p"],
    }


def test_a_setting_that_cannot_be_rendered_names_its_key(pack, make_engine):
    pack.file("config.schema.yaml", "token: {type: string, secret: true}")
    pack.config('token: "{{ nothing }}"')
    engine = make_engine()
    with pytest.raises(ConfigError, match='value for key "token"'):
        engine.config("test", None)


def test_a_changed_configuration_is_read_again(pack, make_engine):
    pack.file("config.schema.yaml", "url: {type: string}")
    pack.config("url: a")
    engine = make_engine()
    assert engine.config("test") == {"url": "a"}
    pack.config("url: long")
    assert engine.config("test") == {"url": "long"}


def test_an_action_reads_its_configuration(pack, make_engine):
    pack.file("config.schema.yaml", "url: {type: string}")
    pack.config("url: a")
    pack.python("look", "return self.config['url']")
    pack.python("miss", "return self.config['other']")
    engine = make_engine()
    assert engine.run("test.look").result["result"] == "a"
    assert 'is missing key "other"' in engine.run("test.miss").result["stderr"]


def test_keys_expire(pack, make_engine, monkeypatch):
    engine = make_engine()
    engine.store.keys.set("short", "x", ttl=60)
    assert engine.store.keys.get("short") == "x"
    in_a_minute = time.time() + 60
    monkeypatch.setattr(time, "time", lambda: in_a_minute)
    with pytest.raises(KeyError, match="Unable to find key"):
        engine.store.keys.get("short")
    assert engine.store.keys.list() == []


def test_the_database_is_readable_by_its_owner_only(make_engine, pack):
    import os

    assert os.stat(make_engine().store.path).st_mode & 0o077 == 0
