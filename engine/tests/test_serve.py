"""Serving: sensors in processes of their own, webhooks, timers, and how all of it stops."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse

import pytest
from patience import wait_for

from packengine import ports, sensors, service
from packengine.service import AlreadyServed, Service
from packengine.webhooks import api_key, key_file

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

NO_KEY = {"St2-Api-Key": ""}

SENSOR = """
    from st2reactor.sensor.base import {base}


    class Watch({base}):
        def setup(self):
            {setup}

        def {method}(self):
            {body}

        def cleanup(self):
            self.sensor_service.set_value("cleaned", "up")

        def add_trigger(self, trigger):
            self.sensor_service.set_value("trigger", trigger["ref"])

        def update_trigger(self, trigger):
            pass

        def remove_trigger(self, trigger):
            pass
    """

SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer", "required": True}},
    "additionalProperties": False,
}


def write_sensor(pack, body, base="Sensor", method="run", setup="pass", **values):
    pack.file("sensors/watch.py", SENSOR.format(base=base, method=method, body=body, setup=setup))
    pack.metadata(
        "sensors/watch.yaml",
        class_name="Watch",
        entry_point="watch.py",
        enabled=True,
        trigger_types=[{"name": "seen", "payload_schema": SCHEMA}],
        **values,
    )


@pytest.fixture
def serve(make_engine):
    """A function that serves the pack; returns the engine. Stopped at the end of the test."""
    stops = []

    def start(**options):
        engine = make_engine(api_port=0)
        served = Service(engine, **options)
        engine._service = served
        ready = threading.Event()
        thread = threading.Thread(target=served.run, args=(ready.set,))
        thread.start()
        assert ready.wait(10)

        def stop():
            served.stop()
            thread.join(20)
            assert not thread.is_alive()

        engine.stop_serving = stop
        engine.served = served
        stops.append(stop)
        return engine

    yield start
    for stop in stops:
        stop()


def nobody_starts_it(engine):
    """Whether the threads that start sensors again have ended, and the sensors with them."""
    sensors = engine.served.sensors
    return not sensors.running and not any(thread.is_alive() for thread in sensors._threads)


def key(engine, name):
    return {one[0]: one[1] for one in engine.store.keys.list()}.get("test.Watch:" + name)


def post(engine, path, body=b"{}", headers=None, prefix="/api/v1/webhooks/"):
    connection = http.client.HTTPConnection("127.0.0.1", engine.api_port, timeout=10)
    known = {"Content-Type": "application/json", "St2-Api-Key": api_key(engine.data_dir)}
    headers = dict(known, **(headers or {}))
    connection.request("POST", prefix + path, body, headers)
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    return response.status, answer


def completed(engine, count=1):
    found = engine.executions(status="succeeded")
    return found if len(found) >= count else None


def sensors_log(engine):
    with open(os.path.join(engine.data_dir, "sensors.log")) as log:
        return log.read()


def test_a_sensors_dispatch_starts_the_rules_action(pack, serve):
    write_sensor(pack, "self.sensor_service.dispatch('test.seen', {'n': 7}, trace_tag='t7')")
    pack.rule("r", "test.seen", "core.echo", parameters={"message": "n={{ trigger.n }}"})
    engine = serve()
    (execution,) = wait_for(lambda: completed(engine))
    assert execution.result["stdout"] == "n=7"
    assert execution.context["trace_context"] == {"trace_tag": "t7"}


def test_a_payload_that_does_not_fit_its_schema_is_dropped(pack, serve):
    write_sensor(
        pack,
        """self.sensor_service.dispatch('test.seen', {'n': 'x'})
            assert self.sensor_service.dispatch('test.nothing', {}) is None""",
    )
    pack.rule("r", "test.seen", "core.noop")
    engine = serve()
    wait_for(lambda: [one.status for one in engine.store.rules.instances()] == ["rejected"] * 2)
    assert engine.executions() == []


def test_a_polling_sensor_is_asked_every_interval(pack, serve):
    write_sensor(
        pack,
        "self.sensor_service.dispatch('test.seen', {'n': 1})",
        base="PollingSensor",
        method="poll",
        poll_interval=0.1,
    )
    pack.rule("r", "test.seen", "core.noop")
    engine = serve()
    wait_for(lambda: completed(engine, 3))


def test_a_sensor_has_configuration_datastore_logger_and_its_triggers(pack, serve):
    pack.file("config.schema.yaml", "place: {type: string}")
    pack.config("place: here")
    write_sensor(
        pack,
        """self.sensor_service.get_logger('x').info('at work')
            self.sensor_service.set_value('place', self.config['place'])
            import time; time.sleep(60)""",
    )
    pack.rule("r", "test.seen", "core.noop")
    engine = serve()
    wait_for(lambda: key(engine, "place") == "here")
    assert key(engine, "trigger") == "test.seen"
    # A thread copies what the sensor says, so it may come after the key.
    wait_for(lambda: "SensorWrapper.test.Watch.x: at work" in sensors_log(engine))


def test_a_sensor_is_started_again_when_its_configuration_changes(pack, serve):
    pack.file("config.schema.yaml", "place: {type: string}")
    pack.config("place: here")
    write_sensor(
        pack,
        """self.sensor_service.set_value('place', self.config['place'])
            import time; time.sleep(60)""",
    )
    engine = serve()
    wait_for(lambda: key(engine, "place") == "here")

    pack.config("place: [not, text]")
    pack.config("place: there")

    wait_for(lambda: key(engine, "place") == "there")
    assert key(engine, "cleaned") == "up"


def test_stopping_ends_sensors_and_cleans_them_up(pack, serve):
    write_sensor(pack, "self.sensor_service.set_value('began', 'yes'); import time; time.sleep(60)")
    engine = serve()
    pid = wait_for(lambda: engine.served.sensors.running)["test.Watch"]
    wait_for(lambda: key(engine, "began"))
    engine.stop_serving()
    assert key(engine, "cleaned") == "up"
    assert not os.path.exists(f"/proc/{pid}")


def test_a_sensor_that_keeps_dying_is_started_three_times_in_all(pack, serve):
    write_sensor(
        pack,
        """
            count = int(self.sensor_service.get_value('starts') or 0)
            self.sensor_service.set_value('starts', str(count + 1))
            raise RuntimeError('dead')""",
    )
    engine = serve(respawn_delay_s=0.05)
    wait_for(lambda: nobody_starts_it(engine))
    assert key(engine, "starts") == "3"
    assert not engine.served.sensors.running


def test_a_sensor_that_ends_without_an_error_is_not_started_again(pack, serve):
    write_sensor(
        pack,
        """
            count = int(self.sensor_service.get_value('starts') or 0)
            self.sensor_service.set_value('starts', str(count + 1))""",
    )
    engine = serve(respawn_delay_s=0.05)
    wait_for(lambda: nobody_starts_it(engine))
    assert key(engine, "starts") == "1"


def test_a_disabled_sensor_is_not_started(pack, serve):
    write_sensor(pack, "pass")
    pack.file("sensors/watch.yaml", "class_name: Watch\nentry_point: watch.py\nenabled: false\n")
    assert serve().served.sensors.running == {}


def test_a_webhook_gives_headers_and_body_to_the_rule(pack, serve):
    pack.rule(
        "hook",
        {"type": "core.st2.webhook", "parameters": {"url": "a/b"}},
        "core.echo",
        {
            "trigger.headers_lower['x-event']": {"type": "equals", "pattern": "push"},
            "trigger.headers['X-Event']": {"type": "equals", "pattern": "push"},
        },
        {"message": "{{ trigger.body.ref }}"},
    )
    engine = serve()
    status, answer = post(
        engine,
        "a/b",
        b'{"ref": "main"}',
        {"x-event": "push", "St2-Trace-Tag": "t1", "Cookie": "secret"},
    )
    assert (status, answer) == (202, {"ref": "main"})
    (execution,) = wait_for(lambda: completed(engine))
    assert execution.result["stdout"] == "main"
    assert execution.context["trace_context"] == {"trace_tag": "t1"}
    (stored,) = engine.store.rules.instances()
    assert "Cookie" not in stored.payload["headers"]
    assert "St2-Trace-Tag" not in stored.payload["headers"]


def test_a_webhook_of_one_rule_does_not_start_another(pack, serve):
    for name in ("one", "two"):
        pack.rule(
            name,
            {"type": "core.st2.webhook", "parameters": {"url": name}},
            "core.echo",
            parameters={"message": name},
        )
    engine = serve()
    post(engine, "two", prefix="/v1/webhooks/")
    (execution,) = wait_for(lambda: completed(engine))
    assert execution.result["stdout"] == "two"


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("nothing", b"{}", {}, 404),
        ("hook", b"{not json", {}, 400),
        ("hook", b"5", {}, 400),
        ("hook", b"a=b", {"Content-Type": "text/plain"}, 400),
        ("hook", b"{}", {"Origin": "http://evil"}, 403),
        ("st2", b"[]", {}, 400),
        ("st2", b"{}", {}, 400),
        ("st2", b'{"trigger": "test.nothing"}', {}, 400),
        ("st2", b'{"trigger": "test.thing", "payload": {"n": "x"}}', {}, 400),
    ],
)
def test_a_wrong_request_is_refused(pack, serve, path, body, headers, status):
    pack.metadata("triggers/thing.yaml", name="thing", payload_schema=SCHEMA)
    pack.rule("hook", {"type": "core.st2.webhook", "parameters": {"url": "hook"}}, "core.noop")
    engine = serve()
    assert post(engine, path, body, headers)[0] == status
    assert engine.store.rules.instances() == []


def test_a_form_is_a_body_too(pack, serve):
    pack.rule(
        "hook",
        {"type": "core.st2.webhook", "parameters": {"url": "hook"}},
        "core.echo",
        parameters={"message": "{{ trigger.body.a[0] }}"},
    )
    engine = serve()
    post(engine, "hook", b"a=1&b=2", {"Content-Type": "application/x-www-form-urlencoded"})
    assert wait_for(lambda: completed(engine))[0].result["stdout"] == 1


def test_a_key_that_was_made_at_the_first_start_is_asked_for(pack, serve):
    pack.rule("hook", {"type": "core.st2.webhook", "parameters": {"url": "hook"}}, "core.noop")
    engine = serve()
    for key in ("", "wrong", "\u00e9"):
        assert post(engine, "hook", headers={"St2-Api-Key": key})[0] == 401
        assert post(engine, f"hook?st2-api-key={urllib.parse.quote(key)}", headers=NO_KEY)[0] == 401
    key = api_key(engine.data_dir)
    assert len(key) > 40
    assert os.stat(key_file(engine.data_dir)).st_mode & 0o077 == 0
    assert post(engine, f"hook?st2-api-key={key}", headers=NO_KEY)[0] == 202
    assert post(engine, "hook")[0] == 202
    assert len(wait_for(lambda: completed(engine, 2))) == 2


def test_an_empty_file_is_no_key(tmp_path):
    (tmp_path / "api-key").touch()
    made = api_key(str(tmp_path))
    assert len(made) > 40
    assert api_key(str(tmp_path)) == made
    assert os.listdir(tmp_path) == ["api-key"]


def test_a_key_of_the_environment_is_asked_for(pack, serve, monkeypatch):
    monkeypatch.setenv("ENGINE_API_KEY", "k3y")
    pack.rule("hook", {"type": "core.st2.webhook", "parameters": {"url": "hook"}}, "core.noop")
    engine = serve()
    assert post(engine, "hook", headers=NO_KEY)[0] == 401
    assert post(engine, "hook", headers={"St2-Api-Key": "wrong"})[0] == 401
    assert post(engine, "hook", headers={"St2-Api-Key": "k3y"})[0] == 202


def test_the_st2_webhook_dispatches_any_trigger(pack, serve):
    pack.metadata("triggers/thing.yaml", name="thing", payload_schema=SCHEMA)
    pack.rule("r", "test.thing", "core.echo", parameters={"message": "{{ trigger.n }}"})
    engine = serve()
    assert post(engine, "st2", b'{"trigger": "test.thing", "payload": {"n": 5}}')[0] == 202
    assert wait_for(lambda: completed(engine))[0].result["stdout"] == 5


def test_an_interval_timer_fires_again_and_again(pack, serve):
    timer = {"type": "core.st2.IntervalTimer", "parameters": {"unit": "seconds", "delta": 1}}
    pack.rule("r", timer, "core.noop")
    engine = serve()
    wait_for(lambda: completed(engine, 2))
    instance = engine.store.rules.instances()[0]
    assert instance.payload["executed_at"]
    assert instance.trace_tag.startswith("st2.IntervalTimer-")


def test_a_date_timer_fires_once_unless_it_has_passed(pack, serve):
    soon = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() + 3))
    for name, date in (("soon", soon), ("past", "2001-01-01 00:00:00")):
        pack.rule(name, {"type": "core.st2.DateTimer", "parameters": {"date": date}}, "core.noop")
    engine = serve()
    wait_for(lambda: completed(engine))
    wait_for(lambda: not any(thread.is_alive() for thread in engine.served._timers._threads))
    assert len(engine.store.rules.instances()) == 1


def test_the_end_of_an_action_is_a_trigger(pack, serve):
    pack.rule(
        "r",
        "core.st2.generic.actiontrigger",
        "core.echo",
        {"trigger.action_ref": {"type": "equals", "pattern": "core.noop"}},
        {"message": "{{ trigger.status }}"},
    )
    engine = serve()
    engine.run("core.noop")
    found = wait_for(
        lambda: [one for one in engine.executions(action="core.echo") if one.is_completed]
    )
    assert found[0].result["stdout"] == "succeeded"


def test_an_action_injects_a_trigger(pack, serve):
    pack.metadata("triggers/thing.yaml", name="thing")
    pack.rule("r", "test.thing", "core.echo", parameters={"message": "{{ trigger.x }}"})
    engine = serve()
    given = {"trigger_name": "test.thing", "payload": {"x": "y"}, "trace_tag": "t"}
    assert engine.run("core.inject_trigger", given).status == "succeeded"
    found = wait_for(
        lambda: [one for one in engine.executions(action="core.echo") if one.is_completed]
    )
    assert found[0].result["stdout"] == "y"


def test_what_happened_while_nobody_served_is_handled_later(pack, make_engine, serve):
    pack.metadata("triggers/thing.yaml", name="thing")
    pack.rule("r", "test.thing", "core.noop")
    make_engine().dispatch("test.thing", {"x": 1})
    engine = serve()
    wait_for(lambda: completed(engine))


def test_one_process_serves_a_data_directory(serve, make_engine):
    serve()
    with pytest.raises(AlreadyServed, match="Another process serves"):
        make_engine(api_port=0).serve()


def test_a_port_that_is_taken_is_named_with_who_has_it(make_engine):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert ports.holder(port).endswith(f" (process {os.getpid()})")
        with pytest.raises(AlreadyServed) as refused:
            make_engine(api_port=port).serve()
    assert str(refused.value) == (
        f"Cannot listen for webhooks on 127.0.0.1:{port}: {ports_name()} (process {os.getpid()}) "
        "listens there; choose another port with --api-port"
    )


def ports_name():
    with open("/proc/self/comm") as comm:
        return comm.read().strip()


def test_nobody_holds_a_port_that_is_free():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert ports.holder(free.getsockname()[1]) is None


def test_a_sensor_that_dies_says_why_once_and_then_that_it_is_off(pack, serve, caplog):
    write_sensor(pack, "raise RuntimeError('port 80 is taken')")
    engine = serve(respawn_delay_s=0.05)
    wait_for(lambda: nobody_starts_it(engine))
    first, last = (
        each.getMessage() for each in caplog.records if each.name == "packengine.sensors"
    )
    assert first == (
        "Sensor test.Watch died: RuntimeError: port 80 is taken. It is started again in 0.05 s"
    )
    assert last.startswith(
        "Sensor test.Watch is off: RuntimeError: port 80 is taken; it was started 3 times. "
        "The rest goes on without it: put that right and start serve again. Its log: "
    )


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([], "exit status 1, without a word"),
        (["Traceback", '  File "x"', "    raise a.b.E", "a.b.E: no: way"], "E: no: way"),
        (["  File", "a.E: one", "two", ""], "E: one two"),
        (["just talk"], "just talk"),
    ],
)
def test_why_a_sensor_died_is_the_error_at_the_end_of_what_it_wrote(lines, reason):
    assert sensors._reason(1, lines) == reason


def test_a_stop_before_serving_begins_is_not_forgotten(make_engine, pack):
    pack.action("one")
    engine = make_engine(api_port=0)
    engine.stop()
    engine.serve()


def test_stopping_abandons_what_does_not_end_in_time(pack, serve, monkeypatch):
    monkeypatch.setattr(service, "GRACE_S", 0.2)
    pack.rule(
        "hook",
        {"type": "core.st2.webhook", "parameters": {"url": "hook"}},
        "core.local",
        parameters={"cmd": "sleep 60", "timeout": 90},
    )
    engine = serve()
    post(engine, "hook")
    wait_for(lambda: engine.executions(status="running"))
    engine.stop_serving()
    assert [one.status for one in engine.executions()] == ["abandoned"]


def test_serve_stops_on_a_signal_and_its_sensors_die_with_it(pack, tmp_path):
    write_sensor(
        pack,
        """import os, time
            self.sensor_service.set_value('pid', str(os.getpid()))
            time.sleep(60)""",
    )
    for number, expected in ((signal.SIGTERM, 0), (signal.SIGKILL, -9)):
        process, data = serve_elsewhere(pack, tmp_path / str(int(number)))
        pid = int(wait_for(lambda: _pid(data)))
        process.send_signal(number)
        assert process.wait(10) == expected
        process.stdout.close()
        wait_for(lambda: not os.path.exists(f"/proc/{pid}"))


def test_an_action_dies_with_its_engine(pack, tmp_path):
    pack.python(
        "slow",
        """
        import os, time
        with open(given["file"], "w") as file:
            file.write(str(os.getpid()))
        time.sleep(60)
        """,
        {"file": {"type": "string"}},
    )
    write_sensor(pack, "self.sensor_service.dispatch('test.seen', {'n': 7})")
    file = tmp_path / "pid"
    pack.rule("r", "test.seen", "test.slow", parameters={"file": str(file)})
    process, _ = serve_elsewhere(pack, tmp_path / "data")
    pid = int(wait_for(lambda: file.exists() and file.read_text()))
    process.kill()
    process.wait(10)
    process.stdout.close()
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"))


def serve_elsewhere(pack, data):
    """Serves in a process of its own; returns that and its data directory once it does."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "packengine",
            "--pack",
            str(pack.path),
            "--data-dir",
            str(data),
            "serve",
            "--api-port",
            "0",
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline().startswith("Serving test")
    return process, data


def _pid(data):
    from packengine.store import Store

    store = Store(str(data))
    try:
        return {one[0]: one[1] for one in store.keys.list()}.get("test.Watch:pid")
    finally:
        store.close()
