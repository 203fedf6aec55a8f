"""What people are told of a release's evidence, and what they verify for themselves."""

from __future__ import annotations

import base64
import json
from typing import Any, Mapping, Sequence

from delivery.application import Application
from delivery.errors import DeliveryError
from delivery.names import plain
from delivery.proof.envelope import Signer
from delivery.proof.evidence import Envelope
from delivery.proof.sbom import FORMATS
from delivery.proof.statement import BUILD_HOST, PROVENANCE, REPRODUCED_BY, ROLLOUT
from delivery.releases import Release
from delivery.zones import Zone

SHOWN = 200  # characters of a value that somebody may have written


def told(
    application: Application, beginning: str, signer: Signer | None, zone: Zone
) -> dict[str, Any]:
    """Returns the evidence of a release, whole and as text.

    :param beginning: of its version; empty for what the last stage runs, else the newest.
    :param signer: the pack's own, which says whether its key has signed the evidence.
    :raises DeliveryError: when there is no such release, or it has no evidence.
    """
    release = _release(application, beginning)
    envelopes = application.evidence.of(release.version)
    signed = signer is not None and all(signer.has_signed(each) for each in envelopes)
    lines = [f"{application.name} {release.version}"]
    lines += [f"  {line}" for line in _lines(envelopes, zone)]
    lines.append(
        "  Signed with the pack's present key."
        if signed
        else "  Not signed with the pack's present key: verify it with the one of its time."
    )
    return {
        "evidence": {
            "application": application.name,
            "version": release.version,
            "package": release.package._asdict(),
            "envelopes": list(envelopes),
        },
        "text": "\n".join(lines),
    }


def _release(application: Application, beginning: str) -> Release:
    if beginning:
        return application.releases.find(beginning)
    runs = application.stages.get(application.stages.names()[-1]).version
    return application.releases.get(runs) if runs else application.releases.newest()


def _lines(envelopes: Sequence[Envelope], zone: Zone) -> list[str]:
    lines = []
    for envelope in envelopes:
        try:
            statement = json.loads(base64.b64decode(envelope["payload"]))
            said = _said(statement["predicateType"], statement, zone)
            lines += [plain(line)[:SHOWN] for line in said]
        except (ValueError, KeyError, TypeError, IndexError, DeliveryError):
            lines.append("a statement that cannot be read")
    return lines


def _said(kind: str, statement: Mapping[str, Any], zone: Zone) -> Sequence[str]:
    predicate = statement["predicate"]
    if kind == PROVENANCE:
        built = predicate["buildDefinition"]
        of = built["externalParameters"]
        commit = built["resolvedDependencies"][0]["digest"]["gitCommit"]
        sha256 = statement["subject"][0]["digest"]["sha256"]
        builder = predicate["runDetails"]["builder"]
        hosts = [builder["id"], *builder.get(REPRODUCED_BY, [])]
        return [
            f"built of {of['repository']}, branch {of['branch']}, commit {commit[:7]}; "
            f"package SHA-256 {sha256[:12]}",
            f"made on {' and, the same to the byte, on '.join(_name(each) for each in hosts)}",
            *(
                f"SBOM {each['name']} ({FORMATS[each['mediaType']]}), "
                f"SHA-256 {each['digest']['sha256'][:12]}"
                for each in predicate["runDetails"].get("byproducts", [])
            ),
        ]
    if kind == ROLLOUT:
        return [
            f"{predicate['stage']}: {predicate['kind']} by {predicate['by']}, "
            f"{zone.local(predicate['settledAt']):%Y-%m-%d %H:%M} {zone.name}"
        ]
    return [f"a statement of type {kind}"]


def _name(build_host: str) -> str:
    return build_host[len(BUILD_HOST) :] if build_host.startswith(BUILD_HOST) else build_host
