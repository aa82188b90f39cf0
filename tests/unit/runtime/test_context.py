"""Contexts keep everything on their way, and nothing leaks out of a block."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from protonova.services.runtime import context

_plain = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20)
_role = st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=10)
_contexts = st.builds(
    context.RequestContext,
    request_id=_plain,
    user_id=_plain,
    project_id=_plain,
    roles=st.lists(_role, max_size=3).map(tuple),
    is_admin=st.booleans(),
    global_request_id=_plain,
    trace_parent=_plain,
    user_name=st.text(max_size=20),
    project_name=st.text(max_size=20),
)


@given(_contexts)
def test_metadata_and_dicts_carry_everything(ctx: context.RequestContext) -> None:
    assert context.from_metadata([*ctx.to_metadata(), ("user-agent", "grpc-python")]) == ctx
    assert context.from_dict({**ctx.to_dict(), "a_later_field": 1}) == ctx


def test_metadata_are_what_grpc_lets_through() -> None:
    for key, value in context.RequestContext(user_name="Zoë", project_name="p", roles=("a",)).to_metadata():
        assert re.fullmatch(r"[a-z0-9_.-]+", key)
        assert isinstance(value, bytes) == key.endswith("-bin")


def test_a_block_has_its_context_and_deadline() -> None:
    assert context.current() is context.ANONYMOUS
    outer, inner = context.internal("api"), context.internal("api")
    assert outer.request_id != inner.request_id
    assert outer.is_admin
    with context.use(outer, 60):
        with context.use(inner):
            assert context.current() == inner
            assert context.remaining() is None
        assert context.current() == outer
        assert 0 < (context.remaining() or 0) <= 60
    assert context.current() is context.ANONYMOUS
    assert context.remaining() is None
    with context.use(outer, -1):
        assert context.remaining() == 0.0


def test_request_ids_look_as_clients_know_them() -> None:
    assert re.fullmatch(r"req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", context.new_request_id())
