"""The storage registry as people use it: see, make, change and delete volumes.

What a person decides is in the books at once, with what it costs from then on.  The keeper brings the clusters in
line with it, again and again until they are.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from ..ledger.events import Event, record_event
from ..ledger.schema import spans as billed
from ..ledger.spans import STORAGE, Span
from ..ledger.volumes import (
    Mounted,
    clusters_with_claim,
    end_volume,
    insert_volume,
    list_mounted,
    list_volumes,
    mounts_of,
    request_of,
    save_volume,
    volume_by_name,
)
from ..model.catalog_storage import Access
from ..model.errors import Conflict, NoCredits, NotFound
from ..model.identity import Principal
from ..model.money import format_credits
from ..model.units import format_bytes
from ..model.volume_keeping import keeps_files
from ..model.volume_rules import (
    check_change,
    check_delete,
    check_new,
    check_rate,
    growth_refused,
    may_see,
    mounted_refusal,
    own_teams,
)
from ..model.volumes import Volume, VolumeKind, VolumeState, places_of
from ..model.wire_volumes import VolumeChange, VolumeChoices, VolumeDetail, VolumeList, VolumeRequest
from .core import Core
from .gate import check_volume, check_volume_credits
from .storage import bill_volume, hour_rate, month_micros, volume_spans
from .volume_claims import other_claims
from .volume_views import choices, sees_mount, volume_detail

VOLUMES_MAX = 1_000
"""Of one organization: each is an object on every cluster, however small it is."""


class Volumes:
    """The volumes of every organization, for those who may see them."""

    def __init__(self, core: Core) -> None:
        self._core = core

    # -- looking ---------------------------------------------------------------

    async def list(self, principal: Principal, organization: str | None = None) -> VolumeList:
        """Every volume that the person may see, of one organization or of all their own, and what they may make.

        Raises `NotFound` for an organization that is not the person's.
        """
        if organization is not None:
            self._core.check_member(principal, organization)
        wanted = [organization] if organization is not None else list(principal.organizations())
        known = [name for name in wanted if name in self._core.offer.organizations]

        def read(connection: sa.Connection) -> list[VolumeDetail]:
            found: list[VolumeDetail] = []
            for name in known:
                seen = [volume for volume in list_volumes(connection, name) if may_see(principal, volume)]
                seen.sort(key=lambda volume: (volume.kind.value, volume.name))
                found += self._details(connection, principal, name, seen)
            return found

        # many volumes and what mounts them take a while to read; nobody who starts a workspace waits for it
        volumes = await self._core.database.read(read)
        offered = await self._core.database.run(lambda c: [self._choices(c, principal, name) for name in known])
        return VolumeList(volumes=tuple(volumes), choices=tuple(offered), at_ms=self._core.clock.now_ms())

    def _choices(self, connection: sa.Connection, principal: Principal, organization: str) -> VolumeChoices:
        refusal = ""
        if own_teams(principal, self._core.offer, organization):
            try:
                now_ms = self._core.clock.now_ms()
                check_volume_credits(self._core, connection, organization, VolumeKind.OBJECT.value, "made", now_ms)
            except NoCredits as error:
                refusal = error.sentence()
        return choices(self._core.offer, principal, organization, refusal)

    async def get(self, principal: Principal, organization: str, name: str) -> VolumeDetail:
        """One volume; raises `NotFound` for what the person may not see."""
        return await self._core.database.run(
            lambda c: self._detail(c, principal, self._visible(c, principal, organization, name))
        )

    def _visible(self, connection: sa.Connection, principal: Principal, organization: str, name: str) -> Volume:
        self._core.check_member(principal, organization)
        volume = volume_by_name(connection, organization, name)
        if volume is None or not may_see(principal, volume):
            raise NotFound(f"There is no volume {name} that you may see.")
        return volume

    def _detail(self, connection: sa.Connection, principal: Principal, volume: Volume) -> VolumeDetail:
        return self._details(connection, principal, volume.organization, [volume])[0]

    def _details(
        self, connection: sa.Connection, principal: Principal, organization: str, seen: Sequence[Volume]
    ) -> Sequence[VolumeDetail]:
        name = seen[0].name if len(seen) == 1 else ""
        mounted = list_mounted(connection, organization, name) if seen else ()
        spans = volume_spans(connection, organization) if seen else {}
        return [
            self._view(
                principal, volume, spans.get((organization, volume.item)), mounted, _back_bytes(connection, volume)
            )
            for volume in seen
        ]

    def _view(
        self,
        principal: Principal,
        volume: Volume,
        span: Span | None,
        mounted: Iterable[Mounted],
        back_bytes: int | None,
    ) -> VolumeDetail:
        offer, rate = self._core.offer, span.rate_micros_per_hour if span is not None else 0
        view = volume_detail(offer, principal, volume, rate, mounts_of(mounted, volume), back_bytes)
        if volume.state is VolumeState.PENDING and not any(
            p in self._core.clusters.adapters for p in places_of(offer, volume)
        ):
            return view.model_copy(update={"reason": "This hub keeps no volumes where it is to be."})
        return view

    # -- making ----------------------------------------------------------------

    async def create(self, principal: Principal, request: VolumeRequest) -> VolumeDetail:
        """Make a volume.  The same request by the same person again gets the same volume.

        Raises `NotFound` for an organization that is not the person's, `NotAllowed` for what they or a limit may
        not, `BadInput` for what makes no sense, `NoCredits` at or below zero, `Conflict` for a name that is taken,
        `Unavailable` when nobody can say whether a claim is another volume already.
        """
        self._core.check_member(principal, request.organization)
        others = await self._other_claims(principal, request)
        detail, made = await self._core.database.run(lambda c: self._create(c, principal, request, others))
        if made:
            self._changed(detail.organization, detail.paying_team)
        return detail

    async def _other_claims(self, principal: Principal, request: VolumeRequest) -> frozenset[str]:
        """Clusters on which what has the name of a claim that is to be adopted is a volume, and another claim."""
        if request.claim is None:
            return frozenset()
        # the clusters are asked for nobody who may not adopt it
        volume = check_new(request, self._core.offer, principal, "", self._core.clock.now_ms())
        known = await self._core.database.run(lambda c: clusters_with_claim(c, volume.claim))
        if volume.cluster in known:
            return frozenset()
        return await other_claims(self._core, volume.cluster, volume.claim, known)

    def _create(
        self, connection: sa.Connection, principal: Principal, request: VolumeRequest, others: frozenset[str]
    ) -> tuple[VolumeDetail, bool]:
        now_ms = self._core.clock.now_ms()
        volume = check_new(request, self._core.offer, principal, uuid.uuid4().hex, now_ms)
        check_rate(hour_rate(self._core.offer, volume))
        asked = f"{principal.name}\n{request.model_dump_json()}"
        known = volume_by_name(connection, volume.organization, volume.name)
        if known is not None:
            if known.state is VolumeState.DELETING:
                hint = "Its name is free again in a moment."
                raise Conflict(f"Not made: a volume {known.name} is being deleted.", hint=hint, field="name")
            # what was given away since then is shown to nobody who asks for it again
            if request_of(connection, known.id) != asked or not may_see(principal, known):
                hint = "Choose another name."
                raise Conflict(f"Not made: there is a volume {known.name} already.", hint=hint, field="name")
            return self._detail(connection, principal, known), False
        if volume.adopted and clusters_with_claim(connection, volume.claim) - others:
            raise Conflict(f"Not made: the claim {volume.claim} is another volume already.", field="claim")
        if len(list_volumes(connection, volume.organization)) >= VOLUMES_MAX:
            raise Conflict(
                f"Not made: there are {VOLUMES_MAX:,} volumes already.", hint="Delete one that is not needed."
            )
        check_volume(self._core, connection, volume, None, principal, now_ms)
        insert_volume(connection, volume, asked)
        bill_volume(connection, self._core.offer, volume, now_ms, principal.name)
        cost = format_credits(
            month_micros(self._core.offer, volume), self._core.organization(volume.organization).currency
        )
        size = format_bytes(volume.size_bytes)
        message = f"{principal.name} made volume {volume.name} with {size}, for {cost} a month."
        self._tell(connection, principal, volume, now_ms, "volume-created", message)
        return self._detail(connection, principal, volume), True

    # -- changing --------------------------------------------------------------

    async def change(self, principal: Principal, organization: str, name: str, change: VolumeChange) -> VolumeDetail:
        """Change the title, mount path, size or teams of a volume.  Asked again, nothing changes.

        A size can go back to what it was while the cluster refuses to let the volume grow, and costs so from then.
        Raises what `create` raises; `BadInput` for a size that is smaller still; `Conflict` for a volume of vessl.yaml
        and for the size of an adopted one.
        """
        detail, changed, moves = await self._core.database.run(
            lambda c: self._change(c, principal, organization, name, change)
        )
        if changed:
            self._core.changed(organization, detail.paying_team)
        if moves:
            self._core.storage_bell.ring()
        return detail

    def _change(
        self, connection: sa.Connection, principal: Principal, organization: str, name: str, change: VolumeChange
    ) -> tuple[VolumeDetail, bool, bool]:
        """(the volume now, whether anything is another, whether its clusters have something to do)."""
        now_ms = self._core.clock.now_ms()
        before = self._visible(connection, principal, organization, name)
        after = check_change(before, change, self._core.offer, principal, _back_bytes(connection, before))
        said = _differences(before, after)
        if not said:
            return self._detail(connection, principal, before), False, False
        costs = (after.size_bytes, after.paying_team) != (before.size_bytes, before.paying_team)
        if after.size_bytes != before.size_bytes:
            after = after.model_copy(update={"reason": ""})  # it was about the other size
        if costs:
            check_rate(hour_rate(self._core.offer, after))
        if after.size_bytes > before.size_bytes or after.paying_team != before.paying_team:
            check_volume(self._core, connection, after, before, principal, now_ms)
        save_volume(connection, after)
        if costs:
            bill_volume(connection, self._core.offer, after, now_ms, principal.name)
        message = f"{principal.name} changed volume {after.name}: {', '.join(said)}."
        self._tell(connection, principal, after, now_ms, "volume-changed", message)
        moves = places_of(self._core.offer, after) != places_of(self._core.offer, before)
        detail = self._detail(connection, principal, after)
        if not may_see(principal, after):
            # who gives a volume away sees what it became, once
            detail = detail.model_copy(update={"actions": ()})
        return detail, True, moves or after.size_bytes != before.size_bytes

    # -- deleting --------------------------------------------------------------

    async def delete(self, principal: Principal, organization: str, name: str) -> VolumeDetail:
        """Delete a volume and what is in it; an adopted one is only let go.  Asked again, nothing changes.

        From now on it costs nothing and cannot be mounted; the clusters remove it when they answer.  Raises
        `Conflict` while a workspace mounts it, and for a volume of vessl.yaml.
        """
        detail, deleted = await self._core.database.run(lambda c: self._delete(c, principal, organization, name))
        if deleted:
            self._changed(organization, detail.paying_team)
        return detail

    def _delete(
        self, connection: sa.Connection, principal: Principal, organization: str, name: str
    ) -> tuple[VolumeDetail, bool]:
        volume = self._visible(connection, principal, organization, name)
        check_delete(volume, principal)
        if volume.state is VolumeState.DELETING:
            return self._detail(connection, principal, volume), False
        # in this transaction, as an admission reads the registry in its own: a start and a deletion cannot cross
        mounted = mounts_of(list_mounted(connection, organization, name), volume)
        seen = [m.title for m in mounted if sees_mount(principal, m)]
        refused = mounted_refusal(volume, seen, len(mounted) - len(seen))
        if refused is not None:
            raise refused
        now_ms = self._core.clock.now_ms()
        deleting = volume.model_copy(update={"state": VolumeState.DELETING, "reason": ""})
        save_volume(connection, deleting)
        bill_volume(connection, self._core.offer, deleting, now_ms, principal.name)
        kept = "; its files stay where they are until an operator removes them"
        files = kept if keeps_files(self._core.offer, volume) else " and what is in it"
        message = f"{principal.name} deleted volume {name}{files}."
        self._tell(connection, principal, deleting, now_ms, "volume-deleted", message)
        detail = self._detail(connection, principal, deleting)
        if not any(place in self._core.clusters.adapters for place in places_of(self._core.offer, deleting)):
            # nobody can be asked to remove it
            end_volume(connection, volume.id, now_ms)
        return detail, True

    # --------------------------------------------------------------------------

    def _changed(self, organization: str, team: str) -> None:
        self._core.changed(organization, team)
        self._core.storage_bell.ring()

    def _tell(
        self, connection: sa.Connection, principal: Principal, volume: Volume, now_ms: int, kind: str, message: str
    ) -> None:
        event = Event(
            now_ms, kind, message, principal.name, volume.organization, volume.paying_team, person=principal.name
        )
        record_event(connection, event)


def _back_bytes(connection: sa.Connection, volume: Volume) -> int | None:
    """The size that a volume can go back to while its clusters refuse to let it grow; None when it cannot.

    It is the one that it had before it was to be as large as it is.
    """
    if not growth_refused(volume) or volume.adopted or volume.declared:
        return None
    smaller = (
        sa.select(billed.c.size_bytes)
        .where(
            billed.c.organization == volume.organization,
            billed.c.kind == STORAGE,
            billed.c.workspace_id == "",
            billed.c.item == volume.item,
            billed.c.started_ms >= volume.created_ms,  # another may have had its name
            billed.c.size_bytes < volume.size_bytes,
        )
        .order_by(billed.c.started_ms.desc(), billed.c.size_bytes.desc())
    )
    found = connection.execute(smaller.limit(1)).scalar()
    return None if found is None else int(found)


def _differences(before: Volume, after: Volume) -> list[str]:
    """What a change changes, for people; nothing when all is as it was."""
    said = []
    if after.title != before.title:
        said.append(f"its title is now {after.title}")
    if after.size_bytes != before.size_bytes:
        sizes = f"from {format_bytes(before.size_bytes)} to {format_bytes(after.size_bytes)}"
        said.append(f"it grows {sizes}" if after.size_bytes > before.size_bytes else f"its size goes back {sizes}")
    if after.mount_path != before.mount_path:
        said.append(f"it is mounted at {after.mount_path}")
    if list(after.teams.items()) != list(before.teams.items()):
        words = {Access.READ_WRITE: "writes", Access.READ_ONLY: "reads"}
        whose = [f"{team} {words[access]}" for team, access in after.teams.items()]
        said.append(f"of its teams, {' and '.join(whose)}" if whose else "it belongs to no team")
    return said
