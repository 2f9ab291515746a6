"""A short run of the targets of management and unicast negotiation; ``run.py`` runs them longer."""

from __future__ import annotations

from fuzz_ptp_management import Managed, Negotiating, management, negotiation
from targets import Target, fuzz


def test_management_withstands_what_comes() -> None:
    managed = Managed()

    fuzz(Target("ptp management", management, managed.target), 4_000, seed=1)

    assert managed.answers > 1_000, "good requests must be among them"
    assert managed.commands > 20


def test_negotiation_withstands_what_comes() -> None:
    talk = Negotiating()

    fuzz(Target("ptp unicast", negotiation, talk.target), 4_000, seed=1)

    assert talk.served > 500, "good requests must be among them"
    assert talk.granted > 50
