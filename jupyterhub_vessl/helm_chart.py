"""What Zero to JupyterHub's chart itself refuses: keys that it does not know, and what its schema says."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

from .helm import CHART_KEYS, Found, Values

HUB_KEYS = frozenset(
    {
        *(
            "activeServerLimit",
            "allowNamedServers",
            "annotations",
            "args",
            "authenticatePrometheus",
            "baseUrl",
            "command",
        ),
        *(
            "concurrentSpawnLimit",
            "config",
            "consecutiveFailureLimit",
            "containerSecurityContext",
            "cookieSecret",
            "db",
        ),
        *("deploymentStrategy", "existingSecret", "extraConfig", "extraContainers", "extraEnv", "extraFiles"),
        *(
            "extraPodSpec",
            "extraVolumeMounts",
            "extraVolumes",
            "fsGid",
            "image",
            "initContainers",
            "labels",
            "lifecycle",
        ),
        *("livenessProbe", "loadRoles", "namedServerLimitPerUser", "networkPolicy", "nodeSelector", "pdb"),
        *("podSecurityContext", "readinessProbe", "redirectToServer", "resources", "revisionHistoryLimit", "service"),
        *("serviceAccount", "services", "shutdownOnLogout", "templatePaths", "templateVars", "tolerations"),
    }
)
SINGLEUSER_KEYS = frozenset(
    {
        *("allowPrivilegeEscalation", "cloudMetadata", "cmd", "cpu", "defaultUrl", "events", "extraAnnotations"),
        *("extraContainers", "extraEnv", "extraFiles", "extraLabels", "extraNodeAffinity", "extraPodAffinity"),
        *("extraPodAntiAffinity", "extraPodConfig", "extraResource", "extraTolerations", "fsGid", "image"),
        *("initContainers", "lifecycleHooks", "memory", "networkPolicy", "networkTools", "nodeSelector"),
        *("podNameTemplate", "profileList", "serviceAccountName", "startTimeout", "storage", "uid"),
    }
)


def unknown_keys(values: Values) -> Found:
    """Keys that chart 4.x does not know, where it refuses to install with them."""
    for path, known in (((), CHART_KEYS), (("hub",), HUB_KEYS), (("singleuser",), SINGLEUSER_KEYS)):
        for key in values.map(*path):
            if key not in known:
                yield (*path, key), _unknown(key, known)


def _unknown(key: str, known: frozenset[str]) -> str:
    near = difflib.get_close_matches(key, known, 1)
    meant = f"write {near[0]}" if near else "what is your own goes below `custom`"
    return f"is not a key of the chart, which refuses to install; {meant}"


def against_schema(values: Values, schema: Mapping[str, Any]) -> Found:
    """What the chart's own values.schema.json says of the values, before the chart's defaults are added."""
    from jsonschema import Draft7Validator  # type: ignore[import-untyped]

    for error in Draft7Validator(schema).iter_errors(values.document):
        path = tuple(str(key) for key in error.absolute_path)
        # the chart has defaults for what it requires, all but in files
        if error.validator == "required" and path[:2] != ("hub", "extraFiles"):
            continue
        if error.validator == "additionalProperties":
            known = frozenset(error.schema.get("properties", {}))
            for key in set(error.instance) - known:
                if not any(re.search(pattern, key) for pattern in error.schema.get("patternProperties", {})):
                    yield (*path, str(key)), _unknown(str(key), known)
        elif error.validator == "type":
            kinds = [error.validator_value] if isinstance(error.validator_value, str) else error.validator_value
            yield path, f"write a value of type {' or '.join(kinds)}"
        elif error.validator == "enum":
            yield path, f"write one of {', '.join(str(each) for each in error.validator_value if each)}"
        else:
            yield path, f"the chart refuses this ({error.validator})"
