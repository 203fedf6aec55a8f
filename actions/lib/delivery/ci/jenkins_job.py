"""The job that builds an application in Jenkins: what its config.xml says.

It takes the parameters REPOSITORY, BRANCH, COMMIT and CALLBACK, checks out exactly that commit,
runs `script/cisetup` and `script/cibuild`, and calls back. Jenkins needs the plugins Pipeline, Git
and Credentials Binding for it. The script is `pipeline.groovy` beside this file; what is filled in
becomes a Groovy string there, and the whole is made XML by a library, so nothing is spliced.
"""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ET

from delivery.ci.callback import HEADER
from delivery.ci.jenkins_api import Settings
from delivery.errors import DeliveryError
from delivery.git_url import GIT_URL

TEMPLATE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "pipeline.groovy")
SCRIPTS = ("script/cisetup", "script/cibuild", "script/post-inst")

PARAMETERS = (
    ("REPOSITORY", "owner/name"),
    ("BRANCH", "pushed branch"),
    ("COMMIT", "commit to build, 40 hexadecimal digits"),
    ("DIRECTORY", "directory of the application in the repository; empty: all of it"),
    ("CALLBACK", "id of this build in its callback"),
)

# For sh in Jenkins; parameters are variables of its environment. POSIX has no =~, so expr.
CHECK_PARAMETERS = r"""
matches() { [ "$(printf %s "$2" | wc -l)" -eq 0 ] && expr "x$2" : "x$1\$" >/dev/null ||
  { echo "$3 is malformed" >&2; exit 1; }; }
matches '[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]*' "$REPOSITORY" REPOSITORY
matches '[A-Za-z0-9][A-Za-z0-9._/+-]*' "$BRANCH" BRANCH
matches '[0-9a-f]\{40\}' "$COMMIT" COMMIT
matches '[A-Za-z0-9._+@/-]*' "$DIRECTORY" DIRECTORY
case "/$DIRECTORY/" in *//* | */../* | */./*)
  [ -z "$DIRECTORY" ] || { echo "DIRECTORY is malformed" >&2; exit 1; } ;;
esac
matches '[a-z0-9-]*' "$CALLBACK" CALLBACK
"""
CHECK_SOURCE = """
[ "$(git rev-parse HEAD)" = "$COMMIT" ] || {{ echo "the checkout is not $COMMIT" >&2; exit 1; }}
cd "./$DIRECTORY" || {{ echo "the repository has no directory $DIRECTORY" >&2; exit 1; }}
for script in {}; do
  [ -x "$script" ] || {{ echo "$script is missing or not executable" >&2; exit 1; }}
done
""".format(" ".join(SCRIPTS))
# The secret goes by standard input: arguments can be read by everybody on the machine.
CALL_BACK = r"""
set +x
[ -n "$CALLBACK" ] || exit 0
printf '%s: %s\n' @HEADER@ "$SECRET" |
  curl --silent --show-error --fail --output /dev/null --max-time 20 --retry 2 --header @- \
    --header 'Content-Type: application/json' \
    --data "{\"callback\": \"$CALLBACK\", \"number\": $BUILD_NUMBER}" "$CALLBACK_TO"
""".replace("@HEADER@", HEADER)

CREDENTIAL = r"[A-Za-z0-9._-]{1,100}"
LABEL = r"[A-Za-z0-9._ &|!()-]{1,200}"


def config_xml(settings: Settings, git_url: str, timeout_s: float) -> str:
    """Returns the config.xml of a job.

    :param git_url: what owner/name.git is appended to, as Jenkins' agents reach it.
    :param timeout_s: seconds after which Jenkins aborts a build.
    :raises DeliveryError: for a setting that could mean something else in the script.
    """
    for key, pattern in (
        ("git_credential", CREDENTIAL),
        ("callback_credential", CREDENTIAL),
        ("agent_label", LABEL),
    ):
        value = getattr(settings, key)
        if value and not re.fullmatch(pattern, value):
            raise DeliveryError(f"ci.jenkins.{key}: expected {pattern}")
    if not GIT_URL.fullmatch(git_url):
        raise DeliveryError("github.git_url: not the URL of a git server without credentials")
    job = ET.Element("flow-definition")
    _add(job, "description", "Builds commits for cicd_canary.")
    _add(job, "keepDependencies", "false")
    properties = ET.SubElement(job, "properties")
    definitions = ET.SubElement(
        ET.SubElement(properties, "hudson.model.ParametersDefinitionProperty"),
        "parameterDefinitions",
    )
    for name, description in PARAMETERS:
        parameter = ET.SubElement(definitions, "hudson.model.StringParameterDefinition")
        _add(parameter, "name", name)
        _add(parameter, "description", description)
        _add(parameter, "trim", "true")
    definition = ET.SubElement(
        job, "definition", {"class": "org.jenkinsci.plugins.workflow.cps.CpsFlowDefinition"}
    )
    _add(definition, "script", pipeline(settings, git_url, timeout_s))
    _add(definition, "sandbox", "true")
    ET.SubElement(job, "triggers")
    _add(job, "disabled", "false")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(job, encoding="unicode")


def pipeline(settings: Settings, git_url: str, timeout_s: float) -> str:
    """Returns the job's script."""
    with open(TEMPLATE, encoding="utf-8") as template:
        script = template.read()
    values = {
        "AGENT_LABEL": groovy(settings.agent_label),
        "TIMEOUT_S": f"{int(timeout_s)}",
        "GIT_URL": groovy(git_url),
        "GIT_CREDENTIAL": groovy(settings.git_credential),
        "CHECK_PARAMETERS": groovy(CHECK_PARAMETERS),
        "CHECK_SOURCE": groovy(CHECK_SOURCE),
        "CALLBACK_URL": groovy(settings.callback_url),
        "CALLBACK_CREDENTIAL": groovy(settings.callback_credential),
        "CALL_BACK": groovy(CALL_BACK),
    }
    return re.sub(r"@([A-Z_]+)@", lambda found: values[found.group(1)], script)


def groovy(text: str) -> str:
    """Returns text as a Groovy string in which nothing is interpolated."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'''{escaped}'''" if "\n" in text else f"'{escaped}'"


def same(present: str, wanted: str) -> bool:
    """Returns whether a job's config.xml says all that is wanted.

    Jenkins writes it anew: with the versions of plugins as attributes, with every default, and as
    XML 1.1, which Python's parser does not know.
    """
    return _says(_parse(present), _parse(wanted))


def _parse(text: str) -> ET.Element:
    if "<!DOCTYPE" in text:
        raise DeliveryError("the job's config.xml has a DOCTYPE, which Jenkins never writes")
    try:
        without_declaration = re.sub(r"\A\s*<\?xml[^>]*\?>", "", text)
        return ET.fromstring(without_declaration)  # noqa: S314 - entities need a DOCTYPE
    except ET.ParseError as error:
        raise DeliveryError(f"the job's config.xml cannot be read ({error})") from None


def _says(present: ET.Element, wanted: ET.Element) -> bool:
    """Returns whether an element has the text, attributes and elements of another, in order."""
    if (present.text or "").strip() != (wanted.text or "").strip() or any(
        present.get(name) != value for name, value in wanted.items()
    ):
        return False
    for tag in {child.tag for child in wanted}:
        here, there = present.findall(tag), wanted.findall(tag)
        if len(here) < len(there) or not all(map(_says, here, there)):
            return False
    return True


def _add(parent: ET.Element, tag: str, text: str) -> None:
    ET.SubElement(parent, tag).text = text
