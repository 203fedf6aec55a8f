"""A double of GitHub: repositories to clone and push, webhooks that say so, and the REST API.

In the sandbox it is a host of its own, whose repositories are real:

    http://github/<owner>/<name>.git    git's smart HTTP, through `git http-backend`
    http://github/api/v3/...            the REST calls below, as GitHub Enterprise Server has them

In unit tests it is a server on a free port, whose commits are made up:

    with running_github() as github:
        github.add_repository("acme/shop", main=["a" * 40, "b" * 40])   # a branch, oldest first
        ... delivery.github.GitHub({"api_url": github.url, "token": TOKEN}) ...
        github.statuses("acme/shop", "b" * 40)

    POST  /orgs/{owner}/repos                                       makes an empty repository
    GET   /repos/{owner}/{repo}
    GET   /repos/{owner}/{repo}/branches/{branch}
    GET   /repos/{owner}/{repo}/commits/{ref}
    GET   /repos/{owner}/{repo}/commits/{ref}/status
    POST  /repos/{owner}/{repo}/statuses/{sha}
    GET   /repos/{owner}/{repo}/compare/{base}...{head}
    GET   /repos/{owner}/{repo}/deployments                         by sha, ref, task, environment
    POST  /repos/{owner}/{repo}/deployments
    GET   /repos/{owner}/{repo}/deployments/{id}/statuses           newest first
    POST  /repos/{owner}/{repo}/deployments/{id}/statuses
    GET   /repos/{owner}/{repo}/git/ref/{ref}
    POST  /repos/{owner}/{repo}/git/refs
    PATCH /repos/{owner}/{repo}/git/refs/{ref}
    GET   /repos/{owner}/{repo}/hooks
    POST  /repos/{owner}/{repo}/hooks                               makes a webhook; sends a ping
    GET   /repos/{owner}/{repo}/hooks/{id}/deliveries               newest first
    GET   /repos/{owner}/{repo}/hooks/{id}/deliveries/{id}          with request and response
    POST  /repos/{owner}/{repo}/hooks/{id}/deliveries/{id}/attempts delivers it again
    POST  /app/installations/{id}/access_tokens                     for a JWT of the App's key

Paths, parameters, status codes and the required fields of the answers are those of GitHub's OpenAPI
description (github/rest-api-description, 2022-11-28); events, headers and bodies of webhooks those
of GitHub's documentation ("Webhook events and payloads", "Best practices for using webhooks").
A repository that was renamed answers 301, and 307 to writes. Every ref that is pushed, or moved
through the API, is an event of its own. A delivery is given up after 10 seconds and never tried
again unasked; delivering again keeps its GUID.

`github.fail(...)` makes coming requests fail as GitHub does: rate limits, 5xx, lost answers.

Left out:
- users and permissions: a token may do everything, or only read; git asks for none, and the pusher
  is who HTTP Basic authentication says, unchecked, or else who made the commit
- events other than push and ping, the SHA-1 signature, form-encoded bodies, organisation hooks, the
  limit of three refs a push may send events for
- pull requests, issues, GraphQL, TLS, ETags and 304, and most fields of a repository
- annotated tags (a tag shows the commit it is at), merging into a deployment's ref (auto_merge) and
  environments with protection rules
- pages: what there is is on the first one, as many as `per_page` says
- memory: only what was pushed survives the program

It runs on Python's standard library, and imports nothing of the project but itself.
"""

from __future__ import annotations

from sandbox.github.rest import INSTALLATION_TOKEN, READING_TOKEN, TOKEN, GitHub
from sandbox.github.server import running_github

__all__ = ["INSTALLATION_TOKEN", "READING_TOKEN", "TOKEN", "GitHub", "running_github"]
