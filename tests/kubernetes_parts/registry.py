"""Writing objects as a real server does: defaults, checks, admission, versions, deletion with grace and finalizers."""

from __future__ import annotations

import base64
import copy
import time
from collections.abc import Iterable
from typing import Any

from . import checks
from .checks_changes import check_change, check_preconditions
from .defaults import DEFAULT_CLASS, add_token_volume, fill, fill_pod, random_suffix, without_nulls
from .kinds import Kind, Target
from .patches import apply_patch
from .pod_security import check_pod_security
from .problems import Json, already_exists, bad_request, conflict, forbidden, not_found
from .quota import check_quota
from .schemas import check_schema
from .services import BALANCED, Addresses
from .store import Store

_OWN = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "namespace", "generateName")
_ENDED = ("Succeeded", "Failed")


class Registry:
    """Everything that may be done to objects; used by requests and by the controllers alike.

    Parameters
    ----------
    schemas
        The versions that every written object must fit.
    """

    def __init__(self, store: Store, addresses: Addresses, schemas: Iterable[str]) -> None:
        self.store = store
        self.addresses = addresses
        self._schemas = tuple(schemas)
        self._relaxed = bool(self._schemas) and "1.31" not in self._schemas

    # reading -----------------------------------------------------------------------------------------------------

    def get(self, target: Target) -> Json:
        """The object of a URL.  Raises `Refused` (404)."""
        thing = self.store.get(target.kind.plural, target.namespace, target.name)
        if thing is None:
            raise not_found(_shown(target.kind), target.name)
        return thing

    def storage_class(self, name: str) -> Json | None:
        """A storage class by name."""
        return self.store.get("storageclasses", "", name)

    # writing -----------------------------------------------------------------------------------------------------

    def create(self, kind: Kind, namespace: str, body: Any, *, dry_run: bool = False) -> Json:
        """Insert an object.  Raises `Refused`."""
        thing = self._read_body(kind, namespace, body)
        metadata = thing["metadata"]
        if metadata.pop("resourceVersion", ""):
            raise bad_request("resourceVersion should not be set on objects to be created")
        for name in ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"):
            metadata.pop(name, None)
        check_schema(thing, self._schemas)
        home = self._home(kind, namespace)
        self._check_quantities_and_rules(thing)
        if not metadata.get("name"):
            metadata["name"] = f"{metadata['generateName'][:58]}{random_suffix()}"
        if kind.plural == "pods":
            fill_pod(thing)
            self._add_account(thing)
            check_pod_security(home, thing)
        else:
            if kind.plural == "persistentvolumeclaims":
                self._add_default_class(thing)
            elif kind.plural == "secrets" and thing.get("stringData"):
                thing["data"] = {**(thing.get("data") or {}), **_encoded(thing.pop("stringData"))}
            fill(thing)
        check_quota(self.store, kind.plural, thing)
        if self.store.get(kind.plural, namespace, metadata["name"]) is not None:
            raise already_exists(_shown(kind), metadata["name"])
        if kind.plural == "services":
            self.addresses.give(thing, None)
        return thing if dry_run else self.store.write(thing)

    def replace(self, target: Target, body: Any, *, dry_run: bool = False) -> Json:
        """Overwrite an object or its status.  Raises `Refused`."""
        old = self.get(target)
        return self._change(target, old, self._read_body(target.kind, target.namespace, body), dry_run)

    def patch(self, target: Target, patch: Any, content_type: str, *, dry_run: bool = False) -> Json:
        """Change parts of an object or of its status.  Raises `Refused`."""
        old = self.get(target)
        changed = apply_patch(old, patch, content_type)
        return self._change(target, old, self._read_body(target.kind, target.namespace, changed), dry_run)

    def _change(self, target: Target, old: Json, new: Json, dry_run: bool) -> Json:
        kind, name = target.kind, target.name
        metadata = new["metadata"]
        if metadata.get("name", name) != name:
            message = f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})"
            raise bad_request(message)
        if metadata.get("uid", old["metadata"]["uid"]) != old["metadata"]["uid"]:
            has = old["metadata"]["uid"]
            why = f"Precondition failed: UID in precondition: {metadata['uid']}, UID in object meta: {has}"
            raise conflict(_shown(kind), name, why)
        if metadata.get("resourceVersion", old["metadata"]["resourceVersion"]) != old["metadata"]["resourceVersion"]:
            why = "the object has been modified; please apply your changes to the latest version and try again"
            raise conflict(_shown(kind), name, why)
        kept = {field: old["metadata"][field] for field in _OWN if field in old["metadata"]}
        new["metadata"] = {**{k: v for k, v in metadata.items() if k not in _OWN}, **kept, "name": name}
        new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
        if target.subresource == "status":
            new = {**old, "metadata": new["metadata"], "status": new.get("status") or {}}
            check_schema(new, self._schemas)
            self._check_quantities_and_rules(new)
        else:
            if kind.has_status:
                new["status"] = old.get("status", {})
            check_schema(new, self._schemas)
            self._check_quantities_and_rules(new)
            if kind.plural == "services":
                self.addresses.give(new, old)
            check_change(old, new, self.storage_class)
            check_quota(self.store, kind.plural, new, old)
        return new if dry_run else self.settle(new)

    def settle(self, thing: Json) -> Json:
        """Write an object; one that waits only for its last finalizer goes."""
        metadata = thing["metadata"]
        held = metadata.get("finalizers") or metadata.get("deletionGracePeriodSeconds")
        if "deletionTimestamp" in metadata and not held:
            return self.store.remove(thing)
        return self.store.write(thing)

    def set_status(self, thing: Json, **fields: Any) -> Json:
        """Change fields of ``status`` without any check; None removes one."""
        status = {**(thing.get("status") or {}), **fields}
        status = {name: value for name, value in status.items() if value is not None}
        return self.settle({**thing, "status": status})

    def balance(self, metadata: Json) -> None:
        """A cloud has made the load balancer of a Service, if it is one that waits for it."""
        service = self.store.get("services", metadata["namespace"], metadata["name"])
        if service is not None and service["spec"]["type"] == "LoadBalancer" and not self.addresses.balancers_are_late:
            self.set_status(service, **BALANCED)

    # deleting ----------------------------------------------------------------------------------------------------

    def delete(self, kind: Kind, namespace: str, name: str, options: Json | None = None) -> Json:
        """Delete an object, or begin to: grace of pods, finalizers.  Returns the object.  Raises `Refused`.

        ``options`` as in the API: gracePeriodSeconds, preconditions, propagationPolicy, dryRun.
        """
        options = options or {}
        old = self.get(Target(kind, namespace, name))
        metadata = old["metadata"]
        check_preconditions(_shown(kind), old, options.get("preconditions") or {})
        if options.get("dryRun"):
            return old
        if options.get("propagationPolicy") == "Orphan":
            self._orphan(metadata["uid"])
        grace = self._grace_seconds(kind, old, options.get("gracePeriodSeconds"))
        if kind.plural == "namespaces":
            old = self.set_status(old, phase="Terminating")
            metadata = old["metadata"]
        if not grace and not metadata.get("finalizers") and kind.plural != "namespaces":
            return self.store.remove(old)
        if "deletionTimestamp" in metadata and grace >= metadata.get("deletionGracePeriodSeconds", 0):
            return old
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + grace))
        marked = {**metadata, "deletionTimestamp": moment, "deletionGracePeriodSeconds": grace}
        if kind.plural == "namespaces":
            return self.store.write({**old, "metadata": marked})
        return self.settle({**old, "metadata": marked})

    def _grace_seconds(self, kind: Kind, thing: Json, asked: int | None) -> int:
        if kind.plural != "pods":
            return 0
        # only a kubelet needs time, and only for what runs
        if not thing["spec"].get("nodeName") or (thing.get("status") or {}).get("phase") in _ENDED:
            return 0
        grace = thing["spec"].get("terminationGracePeriodSeconds", 30) if asked is None else asked
        return max(int(grace), 0 if asked == 0 else 1) if grace else 0

    def _orphan(self, uid: str) -> None:
        for thing in self.store.owned_by(uid):
            owners = [one for one in thing["metadata"]["ownerReferences"] if one["uid"] != uid]
            self.store.write({**thing, "metadata": {**thing["metadata"], "ownerReferences": owners}})

    # parts -------------------------------------------------------------------------------------------------------

    def _read_body(self, kind: Kind, namespace: str, body: Any) -> Json:
        if not isinstance(body, dict):
            raise bad_request("couldn't get version/kind; json parse error: json: cannot unmarshal into Go value")
        if (body.get("kind", kind.kind), body.get("apiVersion", kind.api_version)) != (kind.kind, kind.api_version):
            message = f"the object provided is unrecognized (must be of type {kind.kind}): {body.get('apiVersion')}"
            raise bad_request(f"{message}, Kind={body.get('kind')}")
        thing: Json = {"kind": kind.kind, "apiVersion": kind.api_version}
        # events carry nulls of their own, which a real server writes
        thing |= copy.deepcopy(body) if kind.plural == "events" else without_nulls(body)
        metadata = thing.setdefault("metadata", {})
        if not isinstance(metadata, dict):
            raise bad_request("json: cannot unmarshal into Go struct field .metadata of type v1.ObjectMeta")
        metadata.pop("selfLink", None)
        metadata.pop("managedFields", None)
        if kind.namespaced and metadata.setdefault("namespace", namespace) != namespace:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        return thing

    def _home(self, kind: Kind, namespace: str) -> Json:
        if not kind.namespaced:
            return {"metadata": {}}
        home = self.store.get("namespaces", "", namespace)
        if home is None:
            raise not_found("namespaces", namespace)
        if "deletionTimestamp" in home["metadata"]:
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            raise forbidden(_shown(kind), "", why)
        return home

    def _check_quantities_and_rules(self, thing: Json) -> None:
        checks.check_rules(thing, relaxed_variables=self._relaxed)

    def _add_account(self, pod: Json) -> None:
        namespace, name = pod["metadata"]["namespace"], pod["spec"]["serviceAccountName"]
        account = self.store.get("serviceaccounts", namespace, name)
        if account is None:
            why = f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not found'
            raise forbidden("pods", pod["metadata"]["name"], why)
        if not pod["spec"].get("imagePullSecrets") and account.get("imagePullSecrets"):
            pod["spec"]["imagePullSecrets"] = copy.deepcopy(account["imagePullSecrets"])
        add_token_volume(pod, account)

    def _add_default_class(self, claim: Json) -> None:
        if "storageClassName" in claim["spec"]:
            return
        for found in self.store.sorted("storageclasses"):
            metadata = found.thing["metadata"]
            if (metadata.get("annotations") or {}).get(DEFAULT_CLASS) == "true":
                claim["spec"]["storageClassName"] = metadata["name"]
                return


def _encoded(data: dict[str, str]) -> dict[str, str]:
    return {name: base64.b64encode(value.encode()).decode() for name, value in data.items()}


def _shown(kind: Kind) -> str:
    return f"{kind.plural}.{kind.group}" if kind.group else kind.plural
