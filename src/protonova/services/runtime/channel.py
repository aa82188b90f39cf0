"""Channels to other services: context, deadlines, typed errors, TLS and load balancing, in one thin layer.

gRPC's own interceptors cost more than a loopback call's whole travel, so the stubs are given a channel whose
callables are wrapped once, when the stub is made.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc

from protonova.services.runtime import context, errors
from protonova.services.runtime.config import Conf

# How often one call may be sent again, and how long it rests before it is, beginning with the third time.
_SENT_AGAIN = 6
_FIRST_PAUSE = 0.01
_SERVICE_CONFIG = '{"loadBalancingConfig": [{"round_robin": {}}]}'


def connect(conf: Conf, target: str, *, wait_seconds: float | None = None) -> grpc.Channel:
    """A channel to `target`: host:port, several separated by commas (used in turn), or unix:<path>.

    Calls carry the current context, a deadline, and raise `errors.Error`s. While nobody answers at the
    target, a call waits up to `wait_seconds` (default: conf.grpc.wait_seconds) before it raises
    `errors.Unavailable`; after one has waited in vain the next ones fail at once, until one succeeds. A call
    whose connection broke is sent again, a few times, as every call of ours may be repeated.
    """
    options = conf.grpc
    address = _address(target)
    arguments: list[tuple[str, Any]] = [
        ("grpc.service_config", _SERVICE_CONFIG),
        ("grpc.max_send_message_length", options.max_message_mb << 20),
        ("grpc.max_receive_message_length", options.max_message_mb << 20),
        ("grpc.keepalive_time_ms", options.keepalive_seconds * 1000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.initial_reconnect_backoff_ms", 50),
        ("grpc.min_reconnect_backoff_ms", 1_000),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        ("grpc.enable_http_proxy", 0),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if options.ca_file:
        if name := options.server_name or _only_host(target):
            arguments += [("grpc.ssl_target_name_override", name), ("grpc.default_authority", name)]
        channel = grpc.secure_channel(address, client_credentials(conf), options=arguments)
    else:
        channel = grpc.insecure_channel(address, options=arguments)
    patience = options.wait_seconds if wait_seconds is None else wait_seconds
    return Channel(channel, target, options.deadline_seconds, patience)


def client_credentials(conf: Conf) -> grpc.ChannelCredentials:
    """What this process shows to servers, and what it asks of them."""
    options = conf.grpc
    return grpc.ssl_channel_credentials(
        root_certificates=Path(options.ca_file).read_bytes(),
        private_key=Path(options.key_file).read_bytes() if options.key_file else None,
        certificate_chain=Path(options.cert_file).read_bytes() if options.cert_file else None,
    )


class Channel(grpc.Channel):
    """The raw channel with everything every call needs around it."""

    def __init__(self, raw: grpc.Channel, target: str, deadline_seconds: float, wait_seconds: float) -> None:
        self._raw = raw
        self._target = target
        self._deadline_seconds = deadline_seconds
        self.wait_seconds = wait_seconds
        self._waited_in_vain = False

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return _UnaryCall(self, self._raw.unary_unary(method, *args, **kwargs), self._deadline_seconds)

    def stream_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return _Call(self, self._raw.stream_unary(method, *args, **kwargs), self._deadline_seconds)

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return _StreamCall(self, self._raw.unary_stream(method, *args, **kwargs), None)

    def stream_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return _StreamCall(self, self._raw.stream_stream(method, *args, **kwargs), None)

    def subscribe(self, callback: Callable[[Any], None], try_to_connect: bool = False) -> None:
        self._raw.subscribe(callback, try_to_connect)

    def unsubscribe(self, callback: Callable[[Any], None]) -> None:
        self._raw.unsubscribe(callback)

    def close(self) -> None:
        self._raw.close()

    def __enter__(self) -> Channel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def settled(self) -> None:
        """A call got through."""
        if self._waited_in_vain:
            self._waited_in_vain = False

    def becomes_ready(self, seconds: float) -> bool:
        """Waits for a connection as long as patience and the call's own deadline allow."""
        if seconds <= 0 or self._waited_in_vain:
            return False
        ready = grpc.channel_ready_future(self._raw)
        try:
            ready.result(timeout=seconds)
        except grpc.FutureTimeoutError:
            self._waited_in_vain = True
            return False
        finally:
            ready.cancel()
        return True

    def typed(self, error: grpc.RpcError, *, given_up: bool = False) -> errors.Error:
        """`given_up`: the caller itself has cancelled."""
        found = errors.from_rpc(error)
        if isinstance(found, errors.Cancelled) and not given_up and not found.facts:
            # A process that ends cancels the calls it has not answered.
            found = errors.Unavailable(found.message, reason="SERVICE_UNREACHABLE")
        if found.reason == "SERVICE_UNREACHABLE":
            found.facts.update(target=self._target, cause=found.message)
            found.message = f"The service at {self._target} cannot be reached."
        return found


class _Call:
    """A callable of a stub: adds metadata and deadline, types what goes wrong."""

    __slots__ = ("_channel", "_default", "_raw")

    def __init__(self, channel: Channel, raw: Any, default_seconds: float | None) -> None:
        self._channel = channel
        self._raw = raw
        self._default = default_seconds

    def __call__(
        self, request: Any, timeout: float | None = None, metadata: Any = None, **options: Any
    ) -> Any:
        try:
            response = self._raw(
                request, timeout=self._seconds(timeout), metadata=_metadata(metadata), **options
            )
        except grpc.RpcError as error:
            raise self._channel.typed(error) from None
        self._channel.settled()
        return response

    def with_call(
        self, request: Any, timeout: float | None = None, metadata: Any = None, **options: Any
    ) -> Any:
        try:
            return self._raw.with_call(
                request, timeout=self._seconds(timeout), metadata=_metadata(metadata), **options
            )
        except grpc.RpcError as error:
            raise self._channel.typed(error) from None

    def future(
        self, request: Any, timeout: float | None = None, metadata: Any = None, **options: Any
    ) -> _Future:
        raw = self._raw.future(
            request, timeout=self._seconds(timeout), metadata=_metadata(metadata), **options
        )
        return _Future(self._channel, raw)

    def _seconds(self, timeout: float | None) -> float | None:
        wanted = self._default if timeout is None else timeout
        left = context.remaining()
        if left is None:
            return wanted
        return left if wanted is None else min(wanted, left)


class _UnaryCall(_Call):
    """One request, one answer: the only kind that is sent again when its connection was gone."""

    __slots__ = ()

    def __call__(
        self, request: Any, timeout: float | None = None, metadata: Any = None, **options: Any
    ) -> Any:
        seconds = self._seconds(timeout)
        sent = _metadata(metadata)
        ends = None if seconds is None else time.monotonic() + seconds
        patience: float | None = None
        for again in range(_SENT_AGAIN + 1):
            try:
                response = self._raw(request, timeout=seconds, metadata=sent, **options)
            except grpc.RpcError as error:
                failure = self._channel.typed(error)
            else:
                self._channel.settled()
                return response
            if failure.reason != "SERVICE_UNREACHABLE" or again == _SENT_AGAIN:
                break
            now = time.monotonic()
            patience = now + self._channel.wait_seconds if patience is None else patience
            left = patience - now if ends is None else min(patience, ends) - now
            if not self._channel.becomes_ready(left):
                break
            if again:
                # The process that ends still has its connection, and will not have it for long.
                time.sleep(_FIRST_PAUSE * 2**again)
            if ends is not None:
                seconds = max(ends - time.monotonic(), 0.001)
        raise failure from None


class _StreamCall(_Call):
    """Answers in a stream; without a deadline unless the caller names one or works under one."""

    __slots__ = ()

    def __call__(
        self, request: Any, timeout: float | None = None, metadata: Any = None, **options: Any
    ) -> Any:
        raw = self._raw(request, timeout=self._seconds(timeout), metadata=_metadata(metadata), **options)
        return _Stream(self._channel, raw)


class _Stream:
    """An iterator over a stream's messages that raises typed errors; everything else is the raw call's."""

    def __init__(self, channel: Channel, raw: Any) -> None:
        self._channel = channel
        self._raw = raw
        self._given_up = False

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return next(self._raw)
        except grpc.RpcError as error:
            raise self._channel.typed(error, given_up=self._given_up) from None

    def cancel(self) -> Any:
        self._given_up = True
        return self._raw.cancel()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)


class _Future:
    """An answer to come; `result` raises typed errors, everything else is the raw call's."""

    def __init__(self, channel: Channel, raw: Any) -> None:
        self._channel = channel
        self._raw = raw

    def result(self, timeout: float | None = None) -> Any:
        try:
            return self._raw.result(timeout)
        except grpc.FutureTimeoutError:
            raise errors.DeadlineExceeded("The answer did not come in time.") from None
        except grpc.FutureCancelledError:
            raise errors.Cancelled("The call was cancelled.") from None
        except grpc.RpcError as error:
            raise self._channel.typed(error) from None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)


def _metadata(extra: Any) -> Any:
    own = context.current().to_metadata()
    return [*own, *extra] if extra else own


def _address(target: str) -> str:
    """gRPC's way to write a target that may be several addresses."""
    parts = [part.strip() for part in target.split(",") if part.strip()]
    if not parts:
        raise errors.InvalidArgument("No address to connect to.", reason="NO_TARGET")
    if len(parts) == 1:
        return parts[0]
    found: list[str] = []
    family = 0
    for part in parts:
        host, _, port = part.rpartition(":")
        for family_, _type, _protocol, _name, place in socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM
        ):
            family = family or family_
            if family_ == family:
                literal, place_port = str(place[0]), int(place[1])
                bracketed = literal if family_ == socket.AF_INET else f"[{literal}]"
                found.append(f"{bracketed}:{place_port}")
    return f"{'ipv6' if family == socket.AF_INET6 else 'ipv4'}:{','.join(dict.fromkeys(found))}"


def _only_host(target: str) -> str:
    """The host whose name a certificate must carry, where the target itself does not tell gRPC."""
    first = target.split(",")[0].strip()
    if "," not in target or first.startswith("unix:"):
        return ""
    return first.rpartition(":")[0].strip("[]")
