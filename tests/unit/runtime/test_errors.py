"""Errors keep their class, reason and facts through every form they take."""

from __future__ import annotations

import pickle

import grpc
import pytest
from google.rpc import status_pb2

from protonova.services.runtime import database, errors

CLASSES = [
    errors.NotFound,
    errors.AlreadyExists,
    errors.InvalidArgument,
    errors.FailedPrecondition,
    errors.Aborted,
    errors.PermissionDenied,
    errors.Unauthenticated,
    errors.QuotaExceeded,
    errors.Unavailable,
    errors.DeadlineExceeded,
    errors.Cancelled,
    errors.Unimplemented,
    errors.Internal,
]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_form_comes_back_as_it_was(kind: type[errors.Error]) -> None:
    error = kind("Es geht nicht.", reason="A_REASON", server_id="s", count=3)
    for again in (
        errors.from_dict(error.to_dict()),
        errors.from_status(status_pb2.Status.FromString(error.to_status().SerializeToString())),
        pickle.loads(pickle.dumps(error)),
    ):
        assert type(again) is kind
        assert (again.message, again.reason, again.facts) == (
            "Es geht nicht.",
            "A_REASON",
            {"server_id": "s", "count": "3"},
        )


def test_reasons_default_to_the_class() -> None:
    assert errors.NotFound("x").reason == "NOT_FOUND"
    assert errors.QuotaExceeded("x").reason == "QUOTA_EXCEEDED"
    assert str(errors.NotFound()) == "NOT_FOUND"


def test_what_may_be_tried_again() -> None:
    assert {kind for kind in CLASSES if kind.transient} == {
        errors.Unavailable,
        errors.Aborted,
        errors.DeadlineExceeded,
    }


def test_our_own_database_being_away_is_another_services_problem_only_as_unavailable() -> None:
    error = database.DatabaseUnavailable("away", reason="DATABASE_UNAVAILABLE")
    assert type(errors.from_status(error.to_status())) is errors.Unavailable


def test_a_status_of_somebody_else() -> None:
    status = status_pb2.Status(code=grpc.StatusCode.NOT_FOUND.value[0], message="nothing here")
    error = errors.from_status(status)
    assert isinstance(error, errors.NotFound)
    assert (error.message, error.reason) == ("nothing here", "NOT_FOUND")


def test_any_exception_can_be_typed() -> None:
    refused = errors.NotFound("x")
    assert errors.typed(refused) is refused
    unexpected = errors.typed(KeyError("the password"))
    assert isinstance(unexpected, errors.Internal)
    assert "password" not in unexpected.message
    assert unexpected.facts == {"exception": "KeyError"}


def test_an_error_of_any_size_arrives() -> None:
    error = errors.NotFound("No " + "x" * 100_000, reason="THING_NOT_FOUND", thing="x" * 100_000)
    status = error.to_status()
    # Trailing metadata holds the message, and the status with the message again, in base64.
    assert len(status.SerializeToString()) < 3000
    arrived = errors.from_status(status)
    assert (type(arrived), arrived.reason) == (errors.NotFound, "THING_NOT_FOUND")
    assert arrived.message.startswith("No xxx")
    assert arrived.facts["thing"].startswith("xxx")
