"""Options that people and programs post: taken as they come, and never applied."""

from __future__ import annotations

from typing import Any

from traitlets import Dict


class AnyOptions(Dict):
    """A trait that takes whatever a program posts as options, so that `start` refuses it with a sentence.

    JupyterHub 5 looks at nothing before it sets the trait, and counts a TraitError as a failure of its own.
    """

    def validate(self, obj: Any, value: Any) -> Any:
        """Any value is valid."""
        return value


def apply_nothing(spawner: Any, options: Any) -> None:
    """Options never become traits: they go to the service, and what comes back is the plan."""
