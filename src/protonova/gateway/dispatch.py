"""From an HTTP request to an operation's handler and back: versions, bodies, policy, faults, headers.

Both REST APIs of the gateway are served by a ``Dispatcher``; what differs between them (how faults look, which
headers are sent, what a wrong method is) is in its subclasses.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

import flask
import orjson
import prometheus_client as prometheus
from flask.wrappers import Response as FlaskResponse

from protonova.gateway import bodies
from protonova.gateway.auth import IDENTITY
from protonova.gateway.faults import UNEXPECTED, Fault, from_error
from protonova.gateway.links import Links, base_of
from protonova.gateway.operation import Operation, Registry, Route
from protonova.gateway.policy.enforcer import Enforcer
from protonova.gateway.request import Identity, Request, Response, Settings
from protonova.gateway.services import Services
from protonova.gateway.versions import Api
from protonova.services.runtime import context as runtime_context
from protonova.services.runtime import errors

LOG = logging.getLogger(__name__)
# Key of the environ under which the operation a request came to is left.
OPERATION = "protonova.operation"
REQUEST_SECONDS = prometheus.Histogram(
    "protonova_http_request_seconds",
    "Requests answered, by API, operation and code.",
    ["api", "operation", "code"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"]
NOBODY = Identity()
_REQUEST_ID = re.compile(r"req-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

Headers = list[tuple[str, str]]


class Dispatcher:
    """Serves the operations of one registry as a Flask application."""

    api: Api
    json_types = frozenset(("application/json", "text/plain", ""))
    # Whether a path with a slash behind it is another path.
    strict_slashes = False
    largest_body = bodies.MOST

    def __init__(self, conf: Any, registry: Registry, policy: Enforcer, services: Services) -> None:
        self.registry = registry
        self.policy = policy
        self.services = services
        self.settings = Settings.of(conf)

    def flask(self, name: str) -> flask.Flask:
        """The WSGI application: one rule for each path, all methods of which come here."""
        app = flask.Flask(name, static_folder=None)
        app.url_map.strict_slashes = self.strict_slashes
        app.url_map.merge_slashes = False
        for path, route in self.registry.routes.items():
            app.add_url_rule(
                re.sub(r"\{(\w+)\}", r"<\1>", path),
                endpoint=path,
                view_func=self._view(route),
                methods=METHODS,
                provide_automatic_options=False,
            )
        app.register_error_handler(404, self._unrouted)
        app.register_error_handler(Exception, self._unrouted)
        return app

    def _view(self, route: Route) -> Any:
        def serve(**args: str) -> FlaskResponse:
            return self.serve(route, args)

        return serve

    def _unrouted(self, _: Exception) -> FlaskResponse:
        return self.serve(None, {})

    def serve(self, route: Route | None, args: Mapping[str, str]) -> FlaskResponse:
        environ = flask.request.environ
        started = time.perf_counter()
        identity = environ.get(IDENTITY, NOBODY)
        context = self._context(environ, identity)
        headers: Headers = []
        with runtime_context.use(context):
            try:
                request = self._read(route, args, environ, identity, context, headers)
                operation = environ[OPERATION]
                self.authorize(operation, request)
                code, body, extra = self._answer(operation, request)
                headers.extend(extra)
            except Fault as fault:
                code, body = fault.code, self.fault_body(fault, context.request_id, environ)
                headers.extend(fault.headers)
                headers.extend(self.fault_headers(fault))
            self.id_headers(context.request_id, headers)
            headers.append(("Content-Type", "application/json"))
            headers.append(("Content-Length", str(len(body))))
            self._account(environ, code, len(body), time.perf_counter() - started)
        return FlaskResponse([body] if body else [], code, headers)

    def _read(
        self,
        route: Route | None,
        args: Mapping[str, str],
        environ: dict[str, Any],
        identity: Identity,
        context: runtime_context.RequestContext,
        headers: Headers,
    ) -> Request:
        """The request, checked as far as declarations go; its operation is left in the environ."""
        legacy = environ.get("protonova.legacy", False)
        version = self.api.first if legacy else self.api.requested(environ)
        environ["protonova.version"] = version
        if not legacy:
            self.version_headers(self.api.text(version), headers)
        self.check(environ)
        named = environ.get("protonova.project")
        if named and named != identity.project_id:
            raise Fault(400, f"The path names project {named}, the token is for another one.")
        if route is None or any("\0" in each for each in args.values()):
            raise self.no_route()
        operation, body = self._find(route, environ, version)
        environ[OPERATION] = operation
        if operation.validators is not None:
            if legacy and operation.body is not None:
                body = operation.body.prune(version, body)
            operation.validators.at(version).check(body)
        return Request(
            environ=environ,
            version=version,
            legacy=legacy,
            args=args,
            query=self._query(operation, environ, version),
            body=body,
            identity=identity,
            context=context,
            services=self.services,
            policy=self.policy,
            links=self._links(environ),
            settings=self.settings,
        )

    def _find(self, route: Route, environ: dict[str, Any], version: int) -> tuple[Operation, Any]:
        method = environ["REQUEST_METHOD"]
        body: Any = None
        operation = route.find(method, version)
        if operation is None and method in route.actions:
            body = self.parse(environ)
            operation = self._action(route, method, body, version)
        elif operation is not None and operation.body is not None:
            body = self.parse(environ)
        else:
            bodies.announced(environ, self.largest_body)
        if operation is None:
            raise self.no_operation(route, method, version)
        return operation, body

    def _answer(self, operation: Operation, request: Request) -> tuple[int, bytes, Headers]:
        try:
            answer = operation.handler(request)
            code = operation.code(request.version)
            extra: Headers = []
            if isinstance(answer, Response):
                code = answer.code if answer.code is not None else code
                extra = list(answer.headers)
                answer = answer.body
            body = b"" if answer is None else orjson.dumps(answer)
            self.finish(operation, request, body, extra)
            return code, body, extra
        except Fault:
            raise
        except errors.Error as error:
            fault = from_error(error, request.args)
            if fault.code >= 500:
                LOG.warning("%s: %s (%s)", operation.id, error, error.reason)
            raise fault from error
        except Exception as error:
            LOG.exception("%s failed unexpectedly", operation.id)
            raise Fault(500, UNEXPECTED) from error

    def _account(self, environ: Mapping[str, Any], code: int, length: int, seconds: float) -> None:
        operation = environ.get(OPERATION)
        name = operation.id if operation is not None else "none"
        REQUEST_SECONDS.labels(self.api.service, name, code).observe(seconds)
        LOG.info(
            '"%s %s" %d %d bytes %.1f ms',
            environ["REQUEST_METHOD"],
            environ.get("protonova.path", environ["PATH_INFO"]),
            code,
            length,
            seconds * 1000,
        )

    def authorize(self, operation: Operation, request: Request) -> None:
        """Raises the 403 unless the policy allows the operation."""
        if operation.policy is not None:
            request.enforce(operation.policy)

    def _action(self, route: Route, method: str, body: Any, version: int) -> Operation | None:
        if not isinstance(body, dict):
            raise Fault(404, "The body of an action is a JSON object with the action as its key.")
        if len(body) != 1:
            raise Fault(400, "The body of an action has exactly one key: the action.")
        action = next(iter(body))
        try:
            return route.find_action(method, action, version)
        except KeyError:
            raise Fault(400, f"There is no such action: '{action}'.") from None

    def parse(self, environ: dict[str, Any]) -> Any:
        """The body of a request that must have one."""
        return bodies.read_json(environ, self.json_types, self.largest_body)

    def _query(self, operation: Operation, environ: dict[str, Any], version: int) -> dict[str, list[str]]:
        written = environ.get("QUERY_STRING")
        if not written:
            return {}
        if not _is_text(unquote_to_bytes(written.encode("latin-1"))):
            raise Fault(400, "The query string is not UTF-8, or has a NUL character.")
        given = flask.request.args.to_dict(flat=False)
        return operation.query.read(version, given)

    def _context(self, environ: dict[str, Any], identity: Identity) -> runtime_context.RequestContext:
        global_id = environ.get("HTTP_X_OPENSTACK_REQUEST_ID", "")
        return runtime_context.RequestContext(
            request_id=runtime_context.new_request_id(),
            user_id=identity.user_id,
            project_id=identity.project_id,
            roles=identity.roles,
            is_admin=identity is not NOBODY and self.policy.is_admin(identity),
            global_request_id=global_id if _REQUEST_ID.fullmatch(global_id) else "",
            trace_parent=environ.get("HTTP_TRACEPARENT", ""),
            user_name=identity.user_name,
            project_name=identity.project_name,
        )

    def _links(self, environ: dict[str, Any]) -> Links:
        base = base_of(environ, self.settings.public_url)
        project = environ.get("protonova.project")
        tail = f"/{project}" if project else ""
        prefix = environ.get("protonova.prefix", "")
        return Links(base, f"{base}{prefix}{tail}", f"{base}{tail}")

    # What the two APIs do each in their own way.

    def version_headers(self, version: str, headers: Headers) -> None:
        raise NotImplementedError

    def id_headers(self, request_id: str, headers: Headers) -> None:
        raise NotImplementedError

    def check(self, environ: Mapping[str, Any]) -> None:
        """Refuses requests by their headers."""

    def fault_headers(self, fault: Fault) -> Headers:
        return []

    def fault_body(self, fault: Fault, request_id: str, environ: Mapping[str, Any]) -> bytes:
        raise NotImplementedError

    def finish(self, operation: Operation, request: Request, body: bytes, headers: Headers) -> None:
        """Adds headers that depend on what was answered."""

    def no_route(self) -> Fault:
        return Fault(404, "There is nothing at this address.")

    def no_operation(self, route: Route, method: str, version: int) -> Fault:
        raise NotImplementedError


def _is_text(written: bytes) -> bool:
    """Whether this is text that every database can hold."""
    try:
        return "\0" not in written.decode()
    except UnicodeDecodeError:
        return False
