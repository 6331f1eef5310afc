"""What can go wrong with a cluster, said so that a person may read it."""

from __future__ import annotations

from ...model.errors import VesslError


class ClusterUnreachable(VesslError):
    """A cluster does not answer, or does not let us in; nothing is known about what is there.

    ``reason`` is a phrase for people, such as "it does not answer"; it holds no address and no answer's text.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class VolumeNotMade(VesslError):
    """A cluster answered and refused to make, grow or remove a volume; ``reason`` is a sentence for people."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
