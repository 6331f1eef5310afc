"""When the service last worked, and when everything that runs was last seen alive; kept outside the database.

A crash of everything at once is billed to that instant, not to the restart, and a clock that was set while the
service was down is found out.  Both change every minute, so they are in a small file: the database is only
written when something changes.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from .clock import elapsed_ms

JUMP_MS = 60_000
"""A difference that drift does not make while the machine stays on."""
OUTAGE_MS_MAX = 7 * 24 * 3_600_000
"""After a restart of the machine nothing but the wall clock tells how long it was off: so much is believed."""
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Sighting(BaseModel):
    """``at_ms`` is when it was noted, ``alive_ms`` when all open workspaces were last alive (UTC).

    ``elapsed_ms`` is the machine's clock that cannot be set, which counts from the boot ``boot``.
    """

    model_config = ConfigDict(frozen=True)

    at_ms: int
    alive_ms: int
    elapsed_ms: int
    boot: str


NEVER = Sighting(at_ms=0, alive_ms=0, elapsed_ms=0, boot="")


def _boot() -> str:
    try:
        return BOOT_ID.read_text()[:64].strip()
    except OSError:
        return ""


@dataclass(frozen=True)
class Gap:
    """Time that passed on the clock and not in the world: what is open is not billed from ``from_ms`` to ``to_ms``."""

    from_ms: int
    to_ms: int


class Sightings:
    """One sighting in one file.  Without it an outage is billed in full, and a crash up to what is known for sure."""

    def __init__(self, data_dir: Path) -> None:
        self._file = data_dir / "alive"

    def note(self, at_ms: int, *, all_alive: bool) -> None:
        """The service works at ``at_ms``; with ``all_alive``, so does everything that is open.

        A full disk is not worth a failure.
        """
        alive_ms = at_ms if all_alive else self.last().alive_ms
        sighting = Sighting(at_ms=at_ms, alive_ms=alive_ms, elapsed_ms=elapsed_ms(), boot=_boot())
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            beside = self._file.with_suffix(".new")
            beside.write_text(sighting.model_dump_json())
            beside.replace(self._file)

    def last(self) -> Sighting:
        """What was noted last; all zeros if there is nothing that can be read."""
        try:
            return Sighting.model_validate_json(self._file.read_bytes()[:1000])
        except (OSError, ValidationError):
            return NEVER

    def gap(self, now_ms: int) -> Gap | None:
        """Whether the clock went on by more than the time that passed since the last note; None when it did not."""
        last = self.last()
        if not last.at_ms:
            return None
        if last.boot and last.boot == _boot():
            true_ms = last.at_ms + elapsed_ms() - last.elapsed_ms
            return Gap(true_ms, now_ms) if now_ms - true_ms > JUMP_MS else None
        return Gap(last.at_ms, now_ms) if now_ms - last.at_ms > OUTAGE_MS_MAX else None
