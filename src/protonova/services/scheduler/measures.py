"""What a scheduler tells of its decisions: how long they take, how they end, how often a claim comes too late."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import prometheus_client as prometheus

from protonova.services.runtime import telemetry

DECISION_SECONDS = prometheus.Histogram(
    "protonova_scheduler_decision_seconds",
    "Requests for destinations, from the question to the claims, by outcome.",
    ["outcome"],
    buckets=telemetry.BUCKETS,
)
CLAIMS_LOST = prometheus.Counter(
    "protonova_scheduler_claims_lost_total", "Servers whose claim placement refused; they are planned anew."
)


class Decision:
    """How one request for destinations ends; failed, until it is known."""

    outcome = "failed"

    def ended(self, *, placed: int, refused: int) -> None:
        """How many servers have a place, and how many have none."""
        self.outcome = "placed" if not refused else "partly placed" if placed else "refused"


@contextlib.contextmanager
def decision(servers: int) -> Iterator[Decision]:
    """Runs a block as the decision for so many servers, measured and traced."""
    made, began = Decision(), time.perf_counter()
    try:
        with telemetry.span("scheduler.decide", servers=str(servers)):
            yield made
    finally:
        DECISION_SECONDS.labels(made.outcome).observe(time.perf_counter() - began)
