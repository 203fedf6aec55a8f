"""A Jenkins for the tests: an HTTP server that speaks the part of the remote access API used here.

Written after Jenkins' sources (core: Queue, ParameterizedJobMixIn, ParametersDefinitionProperty,
Run, Result, AbstractItem.doConfigDotXml, ItemGroupMixIn, CrumbFilter, DefaultCrumbIssuer,
ApiCrumbExclusion, BasicHeaderProcessor, HudsonIsLoading, QueueIdStrategy):

- a build that is asked for becomes a queue item (201, Location), the item leaves the queue for a
  build or is cancelled, and is remembered for five minutes after that (`forget_queue_items`);
- only parameters that the job defines are kept;
- a restart answers 503 for a while; one that crashed has lost its queue and counts it anew;
- config.xml comes back as XML 1.1, with versions of plugins and with defaults that nobody wrote;
- POST needs a crumb that fits user and session, unless an API token authenticates.

It leaves out: running anything (a test says how a build ends), permissions beyond known and
unknown users, the fields that are not asked for here, `depth`, XML and Python answers, merging of
equal queue items, plugins, views, agents, and every page for people.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import secrets
import threading
import xml.etree.ElementTree as ET
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

USER, API_TOKEN, PASSWORD = "cicd", "11aa22bb33cc44dd55ee66ff7788990011", "a pass word"
BASE_PATH = "/jenkins"
PARAMETERS = ("REPOSITORY", "BRANCH", "COMMIT", "CALLBACK", "CALLBACK_URL")


class Refusal(Exception):
    def __init__(self, status, message=""):
        super().__init__(message)
        self.status = status


class Job:
    def __init__(self, config, parameters=PARAMETERS):
        self.config = config
        self.parameters = parameters
        self.disabled = False
        self.builds = {}
        self.next_number = 1


class Build:
    """A build that runs until the test says how it ends."""

    def __init__(self, number, item):
        self.number, self.item = number, item
        self.result, self.building, self.duration = None, True, 0
        self.log = ""

    def end(self, result, duration_ms=1500):
        self.result, self.building, self.duration = result, False, duration_ms

    def exported(self, url):
        return {
            "number": self.number,
            "building": self.building,
            "result": self.result,
            "duration": self.duration,
            "queueId": self.item["id"],
            "url": url,
            "actions": self.item["actions"],
        }


class Jenkins:
    """What the server knows; a test looks at it and changes it."""

    def __init__(self):
        self.jobs, self.folders = {}, set()
        self.executors = True  # whether one is free for whatever is queued
        self.starting = False  # whether it answers 503
        self.login_page = False  # whether a proxy in front of it wants people to log in
        self.queue, self.left, self.last_item = {}, {}, 0
        self.crumbs = True
        self.sessions = set()
        self.requests = []  # (method, path with query, status)

    # --- what a test does -----------------------------------------------------------------------

    def add_job(self, name, **options):
        """Adds a job as somebody would by hand, and the folders it is in."""
        parts = name.split("/")[:-1]
        self.folders |= {"/".join(parts[:count]) for count in range(1, len(parts) + 1)}
        self.jobs[name] = Job("<flow-definition/>", **options)
        return self.jobs[name]

    def build(self, name, number=1):
        return self.jobs[name].builds[number]

    def take_from_queue(self):
        """An executor is free: whatever waits begins to run."""
        for item in list(self.queue.values()):
            job = self.jobs[item["task"]["name"]]
            build = Build(job.next_number, item)
            job.builds[build.number] = build
            job.next_number += 1
            self._leave(item, executable={"number": build.number})

    def cancel(self, item_id):
        self._leave(self.queue[item_id], cancelled=True)

    def forget_queue_items(self):
        """Five minutes pass."""
        self.left.clear()

    def crash(self):
        """It is killed before it has saved its queue, and comes up again."""
        self.queue.clear()
        self.left.clear()
        self.sessions.clear()
        self.last_item = 0

    def restart(self):
        """It ends properly and comes up again: what waited still waits, under the same number."""
        self.left.clear()
        self.sessions.clear()

    def delete_build(self, name, number=1):
        del self.jobs[name].builds[number]

    def posts(self):
        return [path for method, path, _ in self.requests if method == "POST"]

    # --- what the API does ----------------------------------------------------------------------

    def schedule(self, name, given):
        job = self.jobs[name]
        if job.disabled:
            raise Refusal(409, f"{name} is not buildable")
        if not job.parameters:
            raise Refusal(400, f"{name} is not parameterized")
        values = [
            {"_class": "hudson.model.StringParameterValue", "name": each, "value": given[each]}
            for each in job.parameters
            if each in given
        ]
        self.last_item += 1
        item = {
            "id": self.last_item,
            "task": {"name": name},
            "why": "In the quiet period",
            "actions": [
                {"_class": "hudson.model.ParametersAction", "parameters": values},
                {"_class": "hudson.model.CauseAction", "causes": [{}]},
                {},
            ],
        }
        self.queue[item["id"]] = item
        if self.executors:
            self.take_from_queue()
        return f"{BASE_PATH}/queue/item/{item['id']}/"

    def create(self, folder, name, config):
        full_name = f"{folder}/{name}" if folder else name
        if full_name in self.jobs:
            raise Refusal(400, "A job already exists with this name")
        self.jobs[full_name] = Job(config, _parameters_of(config))

    def _leave(self, item, **how):
        del self.queue[item["id"]]
        self.left[item["id"]] = dict(item, why=None, **dict({"cancelled": False}, **how))

    def item(self, item_id):
        return self.queue.get(item_id) or self.left.get(item_id)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self._serve(self._get)

    def do_POST(self):
        self._serve(self._post)

    @property
    def jenkins(self):
        return self.server.jenkins

    def _serve(self, serve):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        self.new_session = None
        try:
            if self.jenkins.starting:
                raise Refusal(503, "Please wait while Jenkins is getting ready to work")
            if self.jenkins.login_page:
                raise Refusal(200, "Log in")
            self.user, with_token = self._authenticate()
            if not parts.path.startswith(BASE_PATH + "/"):
                raise Refusal(404)
            if self.command == "POST" and self.jenkins.crumbs and not with_token:
                self._check_crumb()
            path = unquote(parts.path[len(BASE_PATH) :]).strip("/")
            self._answer(*serve(path, query, body))
        except Refusal as refusal:
            # As Jenkins does, with a page for people around the message.
            self._answer(refusal.status, f"<html><body>{refusal}</body></html>", "text/html")

    def _get(self, path, query, _):
        if path == "crumbIssuer/api/json":
            if not self.jenkins.crumbs:
                raise Refusal(404)
            return 200, {
                "crumb": self._crumb(self._session()),
                "crumbRequestField": "Jenkins-Crumb",
            }
        if path == "queue/api/json":
            return 200, pruned({"items": list(self.jenkins.queue.values())}, query)
        found = re.fullmatch(r"queue/item/(\d+)/api/json", path)
        if found:
            return 200, pruned(self._present(self.jenkins.item(int(found.group(1)))), query)
        name, rest = _split(path)
        if name in self.jenkins.folders and rest == "api/json":
            return 200, pruned({"name": name.rpartition("/")[2]}, query)
        job = self._present(self.jenkins.jobs.get(name))
        if rest == "config.xml":
            return 200, as_jenkins_writes_it(job.config), "application/xml"
        if rest == "api/json":
            builds = sorted(job.builds.values(), key=lambda build: -build.number)
            return 200, pruned(
                {
                    "name": name.rpartition("/")[2],
                    "fullName": name,
                    "builds": [build.exported(self._url(name, build)) for build in builds[:100]],
                },
                query,
            )
        found = re.fullmatch(r"(\d+)/api/json", rest)
        if found:
            build = self._present(job.builds.get(int(found.group(1))))
            return 200, pruned(build.exported(self._url(name, build)), query)
        found = re.fullmatch(r"(\d+)/logText/progressiveText", rest)
        if found:
            log = self._present(job.builds.get(int(found.group(1)))).log.encode()
            self.text_size = len(log)
            return 200, log[int(query["start"]) :].decode("utf-8", "replace"), "text/plain"
        raise Refusal(404)

    def _post(self, path, query, body):
        if path == "queue/cancelItem":
            item_id = int(query["id"])
            if item_id not in self.jenkins.queue:
                raise Refusal(404)
            self.jenkins.cancel(item_id)
            return 204, ""
        name, rest = _split(path)
        if rest == "createItem":
            if name and name not in self.jenkins.folders:
                raise Refusal(404)
            if not self.headers.get("Content-Type", "").startswith("text/xml"):
                raise Refusal(400, "No Content-Type header set")
            self.jenkins.create(name, query["name"], body.decode())
            return 200, ""
        job = self._present(self.jenkins.jobs.get(name))
        if rest == "buildWithParameters":
            form = {key: values[0] for key, values in parse_qs(body.decode()).items()}
            self.location = self.jenkins.schedule(name, dict(query, **form))
            return 201, ""
        if rest == "config.xml":
            ET.fromstring(body)
            job.config, job.parameters = body.decode(), _parameters_of(body.decode())
            return 200, ""
        found = re.fullmatch(r"(\d+)/stop", rest)
        if found:
            self._present(job.builds.get(int(found.group(1)))).end("ABORTED")
            return 200, ""
        raise Refusal(404)

    def _present(self, thing):
        if thing is None:
            raise Refusal(404)
        return thing

    def _url(self, name, build):
        return (
            "http://wrong.example.org/"
            + "/".join(f"job/{part}" for part in name.split("/"))
            + f"/{build.number}/"
        )

    def _authenticate(self):
        """Returns the user and whether an API token was given."""
        scheme, _, encoded = self.headers.get("Authorization", "").partition(" ")
        if not scheme:
            raise Refusal(403, "Authentication required")
        user, _, password = base64.b64decode(encoded).decode().partition(":")
        if user != USER or password not in (API_TOKEN, PASSWORD):
            raise Refusal(401, f"Invalid password/token for user: {user}")
        return user, password == API_TOKEN

    def _session(self):
        found = re.search(r"JSESSIONID=(\w+)", self.headers.get("Cookie", ""))
        if found and found.group(1) in self.jenkins.sessions:
            return found.group(1)
        self.new_session = secrets.token_hex(8)
        self.jenkins.sessions.add(self.new_session)
        return self.new_session

    def _crumb(self, session):
        return hashlib.sha256(f"{self.user};{session};salt".encode()).hexdigest()

    def _check_crumb(self):
        if self.headers.get("Jenkins-Crumb") != self._crumb(self._session()):
            raise Refusal(403, "No valid crumb was included in the request")

    def _answer(self, status, content, kind="application/json"):
        self.jenkins.requests.append((self.command, self.path, status))
        body = (json.dumps(content) if isinstance(content, dict) else content).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.new_session:
            self.send_header("Set-Cookie", f"JSESSIONID={self.new_session}; Path={BASE_PATH}")
        if kind == "text/plain":
            self.send_header("X-Text-Size", str(self.text_size))
        if status == 201:
            self.send_header("Location", self.server.url + self.location[len(BASE_PATH) :])
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def running_jenkins(tls=None):
    """Yields a Jenkins and its URL; it ends with the block.

    :param tls: an ssl.SSLContext to serve over TLS with.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.jenkins = Jenkins()
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    host = "localhost" if tls else "127.0.0.1"
    server.url = f"{'https' if tls else 'http'}://{host}:{server.server_address[1]}{BASE_PATH}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.jenkins, server.url
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def pruned(thing, query):
    """Returns what `tree` names of an answer, all of it without one (Jenkins' Exported beans)."""
    if "tree" not in query:
        return thing
    fields, rest = _tree(query["tree"])
    assert not rest, f"malformed tree {query['tree']}"
    return _prune(thing, fields)


def _tree(text):
    """Parses `a,b[c,d]{0,9}`; returns {name: (fields, limit)} and what is left of the text."""
    fields = {}
    while text and text[0] != "]":
        name, text = re.match(r",?(\w+)(.*)", text).groups()
        below, limit = None, None
        if text.startswith("["):
            below, text = _tree(text[1:])
            text = text[1:]
        found = re.match(r"\{0,(\d+)\}(.*)", text)
        if found:
            limit, text = int(found.group(1)), found.group(2)
        fields[name] = (below, limit)
    return fields, text


def _prune(thing, fields):
    if isinstance(thing, list):
        return [_prune(each, fields) for each in thing]
    if fields is None:
        return thing
    return {
        name: _prune(thing[name], below)[:limit] if limit else _prune(thing[name], below)
        for name, (below, limit) in fields.items()
        if name in thing
    }


def as_jenkins_writes_it(config):
    """Returns a config.xml as XStream writes the item that was read from it."""
    root = ET.fromstring(config)
    root.set("plugin", "workflow-job@1400.v7fd111b_ec82f")
    ET.SubElement(root, "actions")
    for definition in root.iter("definition"):
        definition.set("plugin", "workflow-cps@3883.vb_3ff2a_e3eea_f")
    ET.indent(root) if hasattr(ET, "indent") else None
    return "<?xml version='1.1' encoding='UTF-8'?>\n" + ET.tostring(root, encoding="unicode")


def _parameters_of(config):
    return tuple(
        each.text for each in ET.fromstring(config).findall(".//parameterDefinitions/*/name")
    )


def _split(path):
    """Returns the full name of the job or folder in a path, and what comes after it."""
    parts, names = path.split("/"), []
    while len(parts) > 1 and parts[0] == "job":
        names.append(parts[1])
        parts = parts[2:]
    return "/".join(names), "/".join(parts)
