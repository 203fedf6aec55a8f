"""The proof that a release carries: who built it, of which commit, signed.

`statement.py` says what is stated and `envelope.py` signs it; `host/cicd-verify` verifies both on
every host, by a policy of the host's own. What is signed here is the evidence of a release, kept
beside it in Consul (`<app>/evidence/<version>`): {"envelopes": [...]}, the provenance first.
"""
