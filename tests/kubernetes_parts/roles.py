"""What the Roles that we hand out allow: a stand-in that keeps to them refuses what a real server would refuse."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from .access import Rule

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"apply -f - <<EOF\n(apiVersion: rbac.*?)^EOF$", re.MULTILINE | re.DOTALL)


def rules_of(text: str, namespace: str) -> list[Rule]:
    """What the Roles (in ``namespace``) and ClusterRoles of some YAML allow, and nothing else."""
    found = []
    for thing in yaml.safe_load_all(text):
        if thing and thing["kind"] in ("Role", "ClusterRole"):
            where = (namespace,) if thing["kind"] == "Role" else ("*",)
            for rule in thing["rules"]:
                assert set(rule) == {"apiGroups", "resources", "verbs"}, "what only a real server understands"
                found.append(Rule(rule["verbs"], rule["resources"], where))
    return found


def service_rules(namespace: str, *, cluster_wide: bool = True) -> list[Rule]:
    """What helm-values/ gives the service in a namespace, and in the whole cluster."""
    files = ["service-role.yaml"] + ["service-cluster-role.yaml"] * cluster_wide
    return [rule for file in files for rule in rules_of((ROOT / "helm-values" / file).read_text(), namespace)]


def hub_rules(namespace: str) -> list[Rule]:
    """What the how-to for Kubernetes gives the hub on a further cluster."""
    text = (ROOT / "docs/how-to/kubernetes.md").read_text()
    return [rule for block in _BLOCK.findall(text) for rule in rules_of(block, namespace)]
