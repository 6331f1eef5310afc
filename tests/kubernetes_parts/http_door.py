"""The HTTP side: URLs and verbs, lists in pages, watches, refusals as `Status` objects."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections import Counter, OrderedDict, deque
from typing import Any

from aiohttp import web

from .access import Tokens, check_access, find_rules, unauthorized
from .cluster import Cluster
from .faults import Faults
from .kinds import Kind, Target, discovery, find_target
from .problems import Json, Refused, bad_request, success
from .schemas import versions
from .selecting import Match, matcher
from .store import Version
from .watching import TOO_OLD, Watch, gone

REQUEST_BYTES_MAX = 3 << 20
_SNAPSHOTS_MAX = 200
_WATCH_SECONDS = 3600.0
_LOG_MAX = 100_000
_PATCHES = ("application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json")
_CONTINUE_TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without"
    " the continue parameter."
)


class Door:
    """Answers requests.

    Attributes
    ----------
    requests
        How often each (verb, resource) was asked for.
    log
        One entry for each request, oldest first.
    hanging
        Set while no request is answered.
    """

    def __init__(self, cluster: Cluster, faults: Faults, tokens: Tokens | None) -> None:
        self._cluster = cluster
        self._store = cluster.store
        self._registry = cluster.registry
        self._faults = faults
        self._tokens = tokens
        self._snapshots: OrderedDict[str, tuple[int, list[Version]]] = OrderedDict()
        self.watches: set[Watch] = set()
        self.requests: Counter[tuple[str, str]] = Counter()
        self.log: deque[Json] = deque(maxlen=_LOG_MAX)
        self.hanging = False
        self._awake = asyncio.Event()
        self._store.listeners.append(self._heard)

    def _heard(self, kind: Kind, change: Any) -> None:
        for watch in self.watches:
            if watch.kind is kind:
                watch.offer(change)

    def wake(self) -> None:
        """End the hanging."""
        self.hanging = False
        self._awake.set()
        self._awake = asyncio.Event()

    def forget_snapshots(self) -> None:
        """No page of a list can be continued any more; open watches get an ERROR."""
        self._snapshots.clear()
        for watch in self.watches:
            watch.fail(gone(TOO_OLD.format(asked=watch.seen, oldest=self._store.number)))

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """The answer to any request."""
        if self.hanging:
            await self._awake.wait()
        try:
            return await self._answer(request)
        except Refused as refused:
            headers = {}
            if refused.retry_after_seconds is not None:
                headers["Retry-After"] = str(refused.retry_after_seconds)
            return _json(refused.body, refused.status, headers)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path in ("/healthz", "/livez", "/readyz"):
            return web.Response(text="ok")
        if self._faults.expired:
            raise unauthorized()
        rules = find_rules(self._tokens, request.headers.get("Authorization", ""))
        about = discovery(request.path, versions()[-1])
        if about is not None:
            return _json(about)
        target = find_target(request.path)
        if target is None:
            raise Refused(404, "the server could not find the requested resource")
        verb = _verb(request, target)
        entry: Json = {"verb": verb, "resource": _resource(target), "namespace": target.namespace}
        entry |= {"name": target.name, "status": 0}
        self.requests[verb, entry["resource"]] += 1
        self.log.append(entry)
        try:
            check_access(rules, verb, target)
            for fault in list(self._faults.meeting(verb, target)):
                await request.read()  # what a client asked for is done also when it does not wait for the answer
                await asyncio.sleep(fault.delay_seconds)
                if fault.refused is not None:
                    raise fault.refused
            response = await self._act(request, verb, target, entry)
            entry["status"] = response.status
            return response
        except Refused as refused:
            entry["status"] = refused.status
            raise

    async def _act(self, request: web.BaseRequest, verb: str, target: Target, entry: Json) -> web.StreamResponse:
        query, kind = request.query, target.kind
        dry_run = query.get("dryRun") == "All"
        if verb == "watch":
            entry["status"] = 200
            return await self._watch(request, target)
        if verb == "list":
            return self._list(query, target)
        if verb == "get":
            if target.subresource == "log":
                return self._pod_log(query, target)
            return _full(self._registry.get(target))
        if verb == "create":
            body = await _body(request)
            if isinstance(body, dict) and not target.namespace and kind.namespaced:
                raise Refused(405, "the server does not allow this method on the requested resource")
            return _full(self._registry.create(kind, target.namespace, body, dry_run=dry_run), 201)
        if verb == "update":
            return _full(self._registry.replace(target, await _body(request), dry_run=dry_run))
        if verb == "patch":
            content_type = request.content_type
            if content_type not in _PATCHES:
                accepted = ", ".join(_PATCHES)
                message = f"the body of the request was in an unknown format - accepted media types include: {accepted}"
                raise Refused(415, message)
            body = await _body(request, any_type=True)
            return _full(self._registry.patch(target, body, content_type, dry_run=dry_run))
        options = await self._delete_options(request)
        if verb == "delete":
            return self._deleted(kind, self._registry.delete(kind, target.namespace, target.name, options))
        match = _selectors(query, kind)
        found = [one for one in self._store.sorted(kind.plural, target.namespace) if match is None or match(one.thing)]
        for one in found:
            metadata = one.thing["metadata"]
            self._registry.delete(kind, metadata.get("namespace", ""), metadata["name"], options)
        return _page(kind, self._store.number, found, {})

    async def _delete_options(self, request: web.BaseRequest) -> Json:
        body = await _body(request) if request.can_read_body else {}
        options: Json = (
            {key: value for key, value in body.items() if value is not None} if isinstance(body, dict) else {}
        )
        for name in ("gracePeriodSeconds", "propagationPolicy", "dryRun"):
            if name in request.query:
                value = request.query[name]
                options[name] = _number(value, name) if name == "gracePeriodSeconds" else value
        if not isinstance(options.get("gracePeriodSeconds", 0), int):
            raise bad_request(
                "json: cannot unmarshal into Go struct field DeleteOptions.gracePeriodSeconds of type int64"
            )
        return options

    def _deleted(self, kind: Kind, thing: Json) -> web.Response:
        if kind.returns_deleted:
            return _full(thing)
        metadata = thing["metadata"]
        return _json(success(kind.plural, metadata["name"], metadata["uid"]))

    def _pod_log(self, query: Any, target: Target) -> web.Response:
        pod = self._registry.get(target)
        file = self._cluster.kubelet.log_file(pod)
        lines = file.read_text(errors="replace").splitlines(keepends=True) if file.exists() else []
        if "tailLines" in query:
            count = _number(query["tailLines"], "tailLines")
            lines = lines[-count:] if count else []
        return web.Response(text="".join(lines))

    # lists -------------------------------------------------------------------------------------------------------

    def _list(self, query: Any, target: Target) -> web.Response:
        kind, limit = target.kind, _number(query.get("limit") or "0", "limit")
        if query.get("continue"):
            token, start = _read_token(query["continue"])
            if token not in self._snapshots:
                raise Refused(410, _CONTINUE_TOO_OLD)
            number, found = self._snapshots[token]
        else:
            self._check_version(kind, query)
            token, start, number = "", 0, self._store.number
            found = self._store.sorted(kind.plural, target.namespace)
            match = _selectors(query, kind)
            if match is not None:
                found = [one for one in found if match(one.thing)]
        end = start + limit if limit else len(found)
        metadata: Json = {}
        if end < len(found):
            if not token:
                token = f"{kind.plural}-{number}-{len(self._snapshots)}-{id(found)}"
                self._snapshots[token] = (number, found)
                if len(self._snapshots) > _SNAPSHOTS_MAX:
                    self._snapshots.popitem(last=False)
            metadata["continue"] = base64.urlsafe_b64encode(json.dumps([token, end]).encode()).decode()
            if not query.get("labelSelector") and not query.get("fieldSelector"):
                metadata["remainingItemCount"] = len(found) - end
        return _page(kind, number, found[start:end], metadata)

    def _check_version(self, kind: Kind, query: Any) -> None:
        text, how = query.get("resourceVersion", ""), query.get("resourceVersionMatch", "")
        if how and not text:
            raise bad_request("resourceVersionMatch is forbidden unless resourceVersion is provided")
        asked = _number(text or "0", "resourceVersion")
        if asked > self._store.number:
            raise _too_large(asked, self._store.number)
        if how == "Exact" and asked != self._store.number and self._store.since(kind.plural, asked) != []:
            raise gone(f"The provided resource version is too old: {asked}")

    # watches -----------------------------------------------------------------------------------------------------

    async def _watch(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        query, kind = request.query, target.kind
        match = _selectors(query, kind)
        if target.name:
            match = matcher(kind, query.get("labelSelector", ""), f"metadata.name={target.name}")
        timeout = float(_number(query.get("timeoutSeconds") or "0", "timeoutSeconds")) or _WATCH_SECONDS
        bookmarks = query.get("allowWatchBookmarks") in ("true", "True", "1")
        text = query.get("resourceVersion", "")
        asked = _number(text or "0", "resourceVersion")
        watch = Watch(kind, target.namespace, match, bookmarks, asked)
        self._begin(watch, kind, target.namespace, asked, query.get("sendInitialEvents") in ("true", "True", "1"))
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        self.watches.add(watch)
        until = asyncio.get_running_loop().time() + timeout
        try:
            await response.prepare(request)
            while (text_out := await watch.next(until)) is not None:
                if self.hanging:
                    await self._awake.wait()
                await response.write(text_out)
            if watch.bookmarks and not watch.ended and self._store.number >= asked:
                watch.bookmark(self._store.number)
                await response.write(await watch.next(until) or b"")
            await response.write_eof()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.watches.discard(watch)
        return response

    def _begin(self, watch: Watch, kind: Kind, namespace: str, asked: int, initial: bool) -> None:
        """Queue what a watch must hear first.  Nothing can happen between this and its entry into the set."""
        watch.seen = self._store.number
        if asked > self._store.number:
            return  # a real server is silent until it gets there, too
        if asked == 0 or initial:
            for version in self._store.sorted(kind.plural, namespace):
                watch.show(version)
            if initial:
                watch.bookmark(self._store.number, initial_end=True)
        else:
            changes = self._store.since(kind.plural, asked)
            if changes is None:
                watch.fail(gone(TOO_OLD.format(asked=asked, oldest=self._store.number)))
            else:
                for change in changes:
                    watch.offer(change)


def _verb(request: web.BaseRequest, target: Target) -> str:
    method, watch = request.method, request.query.get("watch", "") in ("true", "True", "1")
    if method == "GET":
        return "watch" if watch and not target.subresource else "get" if target.name else "list"
    named = {"PUT": "update", "PATCH": "patch", "DELETE": "delete"}
    if method in named and target.name and not (target.subresource and method == "DELETE"):
        if target.subresource != "log":
            return named[method]
    elif method == "POST" and not target.name:
        return "create"
    elif method == "DELETE" and not target.name:
        return "deletecollection"
    raise Refused(405, "the server does not allow this method on the requested resource")


def _resource(target: Target) -> str:
    return f"{target.kind.plural}/{target.subresource}" if target.subresource else target.kind.plural


async def _body(request: web.BaseRequest, *, any_type: bool = False) -> Any:
    if (
        not any_type
        and request.body_exists
        and request.content_type not in ("application/json", "application/octet-stream")
    ):
        message = "the body of the request was in an unknown format - accepted media types include: application/json"
        raise Refused(415, message)
    try:
        return json.loads(await request.read() or b"{}")
    except web.HTTPRequestEntityTooLarge:
        limit = f"limit is {REQUEST_BYTES_MAX}"
        raise Refused(413, f"Request entity too large: {limit}", reason="RequestEntityTooLarge") from None
    except ValueError as error:
        raise bad_request(f"error decoding: couldn't get version/kind; json parse error: {error}") from None


def _selectors(query: Any, kind: Kind) -> Match | None:
    return matcher(kind, query.get("labelSelector", ""), query.get("fieldSelector", ""))


def _number(text: str, name: str) -> int:
    if not text.isdecimal():
        raise bad_request(f'unable to decode query: {name}: strconv.ParseInt: parsing "{text}": invalid syntax')
    return int(text)


def _too_large(asked: int, current: int) -> Refused:
    message = f"Too large resource version: {asked}, current: {current}"
    return Refused(504, f"Timeout: {message}", causes=[{"reason": "ResourceVersionTooLarge", "message": message}])


def _read_token(text: str) -> tuple[str, int]:
    try:
        token, start = json.loads(base64.urlsafe_b64decode(text))
        return str(token), int(start)
    except (ValueError, TypeError, binascii.Error):
        raise bad_request("continue key is not valid: illegal base64 data") from None


def _json(body: Json, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=json.dumps(body).encode(), status=status, content_type="application/json", headers=headers)


def _full(thing: Json, status: int = 200) -> web.Response:
    return web.Response(body=Version(thing).full, status=status, content_type="application/json")


def _page(kind: Kind, number: int, found: list[Version], metadata: Json) -> web.Response:
    head = json.dumps({"resourceVersion": str(number), **metadata})
    start = f'{{"kind":"{kind.kind}List","apiVersion":"{kind.api_version}","metadata":{head},"items":['
    body = b"".join((start.encode(), b",".join(version.item for version in found), b"]}"))
    return web.Response(body=body, content_type="application/json")
