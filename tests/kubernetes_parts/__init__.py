"""A Kubernetes API server and a small cluster behind it, for tests, benchmarks and the browser.

It behaves like a real one as far as KubeSpawner, kubernetes_asyncio and our service need it, and refuses what a real
one refuses, in the same words.  Pods are hollow (a status and nothing else), or processes of this machine.

What lives where:

* ``stand_in`` the server to start; ``direct`` and ``switches`` its methods for tests; ``remote`` the same in a thread
  or in a program of its own (``__main__``); ``kubeconfig``, ``fixtures``
* ``http_door`` URLs, lists, watches (``watching``); ``access`` tokens, ``roles`` what files give them; ``faults``
* ``store`` objects, versions, history; ``registry`` writing and deleting; ``patches``, ``selecting``, ``kinds``,
  ``problems`` (refusals), ``quantities``, ``defaults``
* ``schemas`` the published schemas; ``checks``, ``checks_pod``, ``checks_resources``, ``checks_changes``, ``names``
  what a server refuses besides; ``pod_security``, ``quota``
* ``cluster`` nodes and controllers: ``scheduler``, ``claims``, ``collector``, ``services``, ``kubelet`` with one
  ``pod_worker`` for each pod, ``pod_status``, ``pod_files``, ``images``, ``processes``, ``recorder`` (events)

All pods share this machine's loopback, each with an address of its own in 127.64.0.0/10.  What a pod binds at 0.0.0.0
is bound at its address: the kubelet writes the address into the words of the command and into
``JUPYTERHUB_SERVICE_URL``, and into nothing else; the pod's manifest stays as it is.
"""

from .access import Rule
from .checks import check_object
from .claims import StorageClass
from .cluster import Node
from .images import Image
from .kubeconfig import write_kubeconfig
from .problems import Refused
from .remote import running_in_thread, running_program
from .roles import hub_rules, service_rules
from .stand_in import StandIn

__all__ = [
    "Image",
    "Node",
    "Refused",
    "Rule",
    "StandIn",
    "StorageClass",
    "check_object",
    "hub_rules",
    "running_in_thread",
    "running_program",
    "service_rules",
    "write_kubeconfig",
]
