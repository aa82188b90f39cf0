"""The gRPC server of a process: what surrounds every handler, health, reflection, an orderly end.

Handlers are wrapped once, when a servicer is added, not per call. A handler runs under the caller's context
and deadline, raises `errors.Error` for what it refuses, and never lets the internals of an unexpected failure
out.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status

from protonova.services.runtime import context, errors, telemetry
from protonova.services.runtime.config import Conf

_log = logging.getLogger("protonova.rpc")

AddToServer = Callable[[Any, Any], None]


class Server:
    """`add` servicers, then `start`. `stopping` is set when the end begins: long streams must watch it."""

    def __init__(self, conf: Conf, name: str, listen: str) -> None:
        options = conf.grpc
        self.conf = conf
        self.name = name
        self.port = 0
        self.stopping = threading.Event()
        self._listen = listen
        self._services: list[str] = []
        self._on_start: list[Callable[[int], object]] = []
        self._on_stop: list[Callable[[], object]] = []
        self._calls = futures.ThreadPoolExecutor(options.threads, thread_name_prefix="rpc")
        # Streams that hang for hours must not take the threads calls are answered by.
        self._streams = futures.ThreadPoolExecutor(options.streams, thread_name_prefix="stream")
        self._health = health.HealthServicer()
        self._grpc = grpc.server(
            self._calls,
            options=[
                ("grpc.so_reuseport", 0),
                ("grpc.max_send_message_length", options.max_message_mb << 20),
                ("grpc.max_receive_message_length", options.max_message_mb << 20),
                ("grpc.keepalive_time_ms", options.keepalive_seconds * 1000),
                ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
                ("grpc.keepalive_permit_without_calls", 1),
            ],
        )

    def add(self, add_to_server: AddToServer, servicer: object) -> None:
        """`server.add(server_pb2_grpc.add_ServerServiceServicer_to_server, servicer)`."""
        add_to_server(servicer, _Registrar(self))

    def on_start(self, action: Callable[[int], object]) -> None:
        """Called with the port once the server answers."""
        self._on_start.append(action)

    def on_stop(self, action: Callable[[], object]) -> None:
        """Called when no call runs any more, the last added first."""
        self._on_stop.append(action)

    @property
    def address(self) -> str:
        """Where it can be reached once it has started."""
        if self._listen.startswith("unix:"):
            return self._listen
        return f"{self._listen.rpartition(':')[0]}:{self.port}"

    def start(self) -> int:
        """Binds and serves; returns the port."""
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._grpc)
        names = (*self._services, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name)
        reflection.enable_server_reflection((*names, reflection.SERVICE_NAME), self._grpc)
        credentials = server_credentials(self.conf)
        try:
            if credentials is None:
                self.port = self._grpc.add_insecure_port(self._listen)
            else:
                self.port = self._grpc.add_secure_port(self._listen, credentials)
        except RuntimeError as error:
            raise errors.Unavailable(
                f"{self.name} cannot listen on {self._listen}.", reason="ADDRESS_IN_USE"
            ) from error
        self._grpc.start()
        for name in ("", *self._services):
            self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        for action in self._on_start:
            action(self.port)
        return self.port

    def stop(self, grace: float | None = None) -> None:
        """Refuses new calls, lets running ones end within `grace` seconds, then runs what `on_stop` was
        given."""
        if grace is None:
            grace = self.conf.graceful_shutdown_timeout
        self._health.enter_graceful_shutdown()
        self.stopping.set()
        self._grpc.stop(grace).wait()
        self._streams.shutdown(wait=False, cancel_futures=True)
        while self._on_stop:
            action = self._on_stop.pop()
            try:
                action()
            except Exception:  # noqa: BLE001 - the others are still to be stopped
                _log.exception("Stopping %s: %r failed", self.name, action)

    def register(self, service: str, handlers: dict[str, grpc.RpcMethodHandler]) -> None:
        """Takes the handlers of a service in, wrapped."""
        wrapped = {
            method: self._wrap(f"/{service}/{method}", handler) for method, handler in handlers.items()
        }
        self._services.append(service)
        self._grpc.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, wrapped),))
        self._grpc.add_registered_method_handlers(service, wrapped)

    def _wrap(self, method: str, handler: Any) -> grpc.RpcMethodHandler:
        call = _Surroundings(method)
        serializers = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        if not handler.response_streaming:
            if handler.request_streaming:
                return grpc.stream_unary_rpc_method_handler(call.unary(handler.stream_unary), **serializers)
            return grpc.unary_unary_rpc_method_handler(call.unary(handler.unary_unary), **serializers)
        stream = call.stream(handler.stream_stream if handler.request_streaming else handler.unary_stream)
        stream.experimental_thread_pool = self._streams  # type: ignore[attr-defined]
        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(stream, **serializers)
        return grpc.unary_stream_rpc_method_handler(stream, **serializers)


class _Registrar:
    """Stands where generated code expects a grpc.Server, and hands the handlers over for wrapping."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """The same handlers come through `add_registered_method_handlers` by name."""

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        self._server.register(service, handlers)


class _Surroundings:
    """What happens before and after each call of one method."""

    def __init__(self, method: str) -> None:
        self._method = method
        self._observe = telemetry.calls(method)
        self._traced = telemetry.server_spans(method)

    def unary(self, behavior: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def handle(request: Any, call: grpc.ServicerContext) -> Any:
            started = time.perf_counter()
            ctx = context.from_metadata(call.invocation_metadata())
            context.enter(ctx, call.time_remaining())
            try:
                with self._traced(ctx):
                    response = behavior(request, call)
            except Exception as error:  # noqa: BLE001 - every failure becomes a status
                self._fail(call, ctx, started, error)
            self._done(started, "OK")
            return response

        return handle

    def stream(self, behavior: Callable[[Any, Any], Iterator[Any]]) -> Callable[[Any, Any], Iterator[Any]]:
        def handle(request: Any, call: grpc.ServicerContext) -> Iterator[Any]:
            started = time.perf_counter()
            ctx = context.from_metadata(call.invocation_metadata())
            context.enter(ctx, call.time_remaining())
            try:
                with self._traced(ctx):
                    yield from behavior(request, call)
            except GeneratorExit:
                self._done(started, "CANCELLED")
                raise
            except Exception as error:  # noqa: BLE001 - every failure becomes a status
                self._fail(call, ctx, started, error)
            self._done(started, "OK" if call.is_active() else "CANCELLED")

        return handle

    def _done(self, started: float, status: str) -> None:
        seconds = time.perf_counter() - started
        self._observe(status, seconds)
        if _log.isEnabledFor(logging.INFO):
            _log.info("%s %s %.1f ms", self._method, status, seconds * 1000)

    def _fail(
        self, call: grpc.ServicerContext, ctx: context.RequestContext, started: float, error: Exception
    ) -> None:
        """Ends the call with the error's status; never returns."""
        failure: errors.Error
        if isinstance(error, errors.Error):
            failure = error
        elif type(error) is NotImplementedError:  # generated code's word for a method nobody wrote
            failure = errors.Unimplemented(f"{self._method} is not served here.")
        else:
            if not call.is_active():
                self._done(started, "CANCELLED")
                raise error
            failure = errors.Internal("An unexpected error happened.", request_id=ctx.request_id)
            _log.error("%s failed unexpectedly", self._method, exc_info=error)
        self._done(started, f"{failure.status.name} {failure.reason}")
        call.abort_with_status(rpc_status.to_status(failure.to_status()))


def server_credentials(conf: Conf) -> grpc.ServerCredentials | None:
    """Certificates of both sides are required as soon as a CA is configured."""
    options = conf.grpc
    if not options.ca_file:
        return None
    pair = (Path(options.key_file).read_bytes(), Path(options.cert_file).read_bytes())
    return grpc.ssl_server_credentials(
        [pair], root_certificates=Path(options.ca_file).read_bytes(), require_client_auth=True
    )
