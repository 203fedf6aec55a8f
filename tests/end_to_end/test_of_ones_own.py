"""Tools and stages of one's own, in the sandbox: a tool is one file, stages are the application's.

The pack is this one, linked to another place, with a CI and a packager dropped into their folders.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from delivery_driver import HOSTS, PROJECT, Delivery, serving
from waiting import wait_for

from sandbox import tokens
from sandbox.world import World

TOOLS = Path(__file__).resolve().parents[1] / "own_tools"
STAGES = {
    "staging": ["canary-1"],
    "edge": ["production-1"],
    "production": ["production-2", "production-3"],
}


class ToyServer:
    """Passes what it is told to build, a moment later, and calls back with the secret."""

    secret = "hush"
    address = ("10.77.0.1", 8099)

    def __init__(self, receiver: str) -> None:
        self.built: list[dict[str, str]] = []
        toy = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                job = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.say("running")
                threading.Timer(0.5, toy.build, [job, receiver]).start()

            def do_GET(self) -> None:
                done = any(job["callback"] == self.path[1:] for job in toy.built)
                self.say("passed" if done else "running")

            def say(self, status: str) -> None:
                body = json.dumps({"status": status}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(self.address, Handler)

    @property
    def url(self) -> str:
        return f"http://{self.address[0]}:{self.address[1]}"

    def build(self, job: dict[str, str], receiver: str) -> None:
        self.built.append(job)
        request = urllib.request.Request(
            f"{receiver}/toy",
            json.dumps({"callback": job["callback"]}).encode(),
            {"Content-Type": "application/json", "X-CICD-Secret": self.secret},
        )
        urllib.request.urlopen(request, timeout=20).close()

    @contextlib.contextmanager
    def running(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        try:
            yield self
        finally:
            self.server.shutdown()
            self.server.server_close()


@pytest.fixture(scope="module")
def pack(tmp_path_factory) -> Path:
    """This pack, of links, and two files more."""
    copy = tmp_path_factory.mktemp("packs") / "cicd_canary"
    copy.mkdir()
    for name in ("actions", "aliases", "policies", "rules", "sensors"):
        shutil.copytree(
            PROJECT / name,
            copy / name,
            copy_function=os.symlink,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    for name in ("pack.yaml", "config.schema.yaml"):
        (copy / name).symlink_to(PROJECT / name)
    tools = copy / "actions" / "lib" / "delivery"
    shutil.copy(TOOLS / "toy_ci.py", tools / "ci")
    shutil.copy(TOOLS / "plain_deb.py", tools / "packaging")
    return copy


@pytest.fixture(scope="module")
def toy(world: World):
    with ToyServer(world.webhook_url.rpartition("/")[0]).running() as server:
        yield server


@pytest.fixture(scope="module")
def engine(world: World, toy: ToyServer, pack: Path, tmp_path_factory):
    file = world.config_dir / "cicd_canary.yaml"
    settings = f"tool: toy_ci\n  toy_ci: {{url: '{toy.url}', secret: {toy.secret}}}"
    file.write_text(
        file.read_text()
        .replace("tool: build_host", settings)
        .replace("tool: nfpm", "tool: plain_deb")
        + f"policy: {{applications: {{notes: {{stages: [{', '.join(STAGES)}]}}}}}}\n"
    )
    with serving(world, tmp_path_factory.mktemp("engine"), pack) as engine:
        yield engine


@pytest.fixture(scope="module")
def shop(world: World, engine, tmp_path_factory) -> Delivery:
    return Delivery(world, engine, "shop", tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def notes(world: World, engine, tmp_path_factory) -> Delivery:
    """An application with three stages, none of which is called canary, on the same hosts."""
    delivery = Delivery(world, engine, "notes", tmp_path_factory.mktemp("notes"))
    setup = f"{PROJECT}/host/cicd-host-setup --app notes --port {world.applications['notes']}"
    for stage, hosts in STAGES.items():
        for host in hosts:
            enrolment = ["host", "--node", host, "--app", "notes", "--stage", stage]
            tokens.make(world.consul_url, world.consul_token, enrolment)
            command = f"{setup} --stage {stage} --interval 1"
            world.host(host).run(["sh", "-c", command], check=True)
            world.host(host).reload_consul()
    return delivery


def test_the_doctor_asks_the_tools_that_were_added(shop: Delivery):
    said = " ".join(shop.say("!deploy doctor").split())
    assert "fine CI by toy_ci: builds" in said
    assert "build host, with git and plain_deb" in said
    assert said.endswith("everything is fine")


def test_a_push_reaches_the_canary_through_them(shop: Delivery, toy: ToyServer):
    version = shop.deploy()
    assert [job["app"] for job in toy.built] == ["shop"]
    assert shop.installed()["canary-1"] == version
    assert shop.answers("canary-1") == version
    described = shop.world.host("canary-1").run(["dpkg-query", "--status", "shop"]).stdout
    assert "Description: shop, packed plainly" in described
    assert len(shop.executions("build_finish")) == 1, "its callback was heard"


def test_stages_of_any_name_are_gone_through_one_by_one(notes: Delivery):
    version = notes.deploy()
    assert set(notes.installed().values()) == {version, ""}
    assert notes.answers("canary-1") == version
    told(notes, f"notes: staging runs {version}", "\nTo promote: !deploy promote notes to edge")

    said = notes.say("!deploy promote notes to edge")
    assert f"notes {version} is in edge on 1 host." in said
    assert notes.answers("production-1") == version
    told(notes, f"notes: edge runs {version}", "\nTo promote: !deploy promote notes")

    said = notes.say("!deploy promote notes")
    assert f"notes {version} is in production on 2 hosts." in said
    assert notes.installed() == dict.fromkeys(HOSTS, version)
    told(notes, f"notes: production runs {version}")


def test_a_stage_in_between_goes_back_alone(notes: Delivery):
    first = notes.installed()["production-1"]
    second = notes.deploy()
    notes.say("!deploy promote notes to edge")
    assert notes.answers("production-1") == second

    said = notes.say("!deploy rollback notes on edge")

    assert f"notes is back on {first} in edge on 1 host." in said
    assert notes.installed() == {
        "canary-1": second,
        "production-1": first,
        "production-2": first,
        "production-3": first,
    }


def test_what_is_brought_by_hand_goes_to_the_first_stage(notes: Delivery):
    version = notes.installed()["canary-1"]
    assert f"Nothing to do: staging of notes runs {version} already." in notes.say(
        "!deploy canary notes"
    )


def test_the_balancer_sends_marked_requests_to_the_first_stage(notes: Delivery):
    template = (PROJECT / "host" / "haproxy.cfg.application").read_text()
    text = template.replace("@APPLICATION@", "notes").replace("@STAGE@", "staging")
    balancer = notes.world.host("lb")
    balancer.run(["tee", "/etc/haproxy/applications/notes.cfg"], input=text, check=True)
    balancer.stop()
    balancer.start()

    def answered_by(**headers: str) -> str:
        request = urllib.request.Request("http://notes/", headers=headers)
        with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)["host"]
        return ""

    wait_for(lambda: answered_by(**{"X-Canary": "true"}) == "canary-1", what="the staging host")
    seen = {answered_by(**{"X-Canary": "true"}) for _ in range(8)}
    assert seen == {"canary-1"}
    wait_for(lambda: answered_by() in STAGES["production"], what="another stage's host")


def told(delivery: Delivery, beginning: str, end: str = "") -> None:
    """Waits for an announcement; between the two it says by whom and in how many seconds."""

    def is_told() -> bool:
        return any(
            each.startswith(f"{beginning} (") and each.endswith(f" s){end}")
            for each in delivery.announced()
        )

    wait_for(is_told, what=f"to read {beginning!r}")
