"""*Storage*, and what people do there: make, change and delete volumes."""

from __future__ import annotations

from ...model.errors import BadInput, Conflict, NotAllowed, NotFound, PublicError
from ...model.text import bounded
from ...model.volumes import VolumeKind
from ...model.wire_credits import CreditsView
from ...model.wire_volumes import VolumeChoices
from ..core import log
from .credits_handlers import OrganizationHandler
from .forms import Form, refused
from .storage_forms import (
    ACCESS,
    CHANGE_FIELDS,
    NEW_FIELDS,
    TEAM,
    change_values,
    check_size,
    new_values,
    price_of,
    price_per_gib,
    read_change,
    read_request,
    team_fields,
)
from .storage_view import KINDS, LINES, choices_of, storage_link, storage_page, volume_facts, volume_link
from .words import amount

SHOW_PRICE = "price"
"""What the button sends that only asks what a size costs."""


class VolumesHandler(OrganizationHandler):
    """Base of the pages about volumes."""

    async def choices(self, credits: CreditsView) -> VolumeChoices:
        """What the person may make in an organization."""
        found = await self.parts.volumes.list(self.principal, credits.organization)
        return choices_of(found, credits.organization, credits.title, credits.currency)

    def done(self, what: str, organization: str, volume: str) -> None:
        """The list again, with what was done; noted in the log."""
        log.info("volume %s of %s %s by %s", volume, bounded(organization), what, bounded(self.principal.name))
        self.see_other(self.link(storage_link(organization, saved=what, volume=volume)))

    def typed_with_teams(self, fields: tuple[str, ...], teams: tuple[str, ...]) -> dict[str, str]:
        """What was typed into a form, with the fields of these teams."""
        return self.typed((*fields, *(f"{TEAM}{team}" for team in teams)))


class StorageHandler(VolumesHandler):
    """The volumes that a person may see, and what each kind of storage is for."""

    async def get(self) -> None:
        """The list of one organization."""
        credits = self.choose(self.query("organization"))
        organization = credits.organization
        found = await self.parts.volumes.list(self.principal, organization)
        view = storage_page(
            found,
            choices_of(found, organization, credits.title, credits.currency),
            self.parts.core.offer.storage,
            belongs=any(m.organization == organization for m in self.principal.memberships),
            contact=credits.contact,
            saved=self.query("saved"),
            volume=self.query("volume"),
        )
        every = self.me.credits if self.me else ()
        self.page(
            "storage.html",
            address=self.link(storage_link(organization)),
            section="storage",
            view=view,
            organizations=[(c.title, storage_link(c.organization), c.organization == organization) for c in every],
        )


class NewVolumeHandler(VolumesHandler):
    """The form that makes cluster or object storage."""

    async def get(self) -> None:
        """The empty form."""
        credits = self.choose(self.query("organization"))
        choices = await self.choices(credits)
        kind = self._kind(self.query("kind"), choices, credits)
        self._show(credits, choices, kind, Form(new_values(choices, kind)))

    async def post(self) -> None:
        """Make it; then *Storage*, or the form as it was with the reason at its field."""
        credits = self.choose(self.sent("organization"))
        choices = await self.choices(credits)
        kind = self._kind(self.sent("kind"), choices, credits)
        values = self.typed_with_teams(NEW_FIELDS, tuple(choices.teams))
        try:
            if self.sent("do") == SHOW_PRICE:
                check_size(values["size"])
                self._show(credits, choices, kind, Form(values))
                return
            request = read_request(values, choices, kind)
            made = await self.parts.volumes.create(self.principal, request)
        except PublicError as error:
            self._show(credits, choices, kind, refused(values, error), error.status)
            return
        self.done("made", made.organization, made.name)

    def _kind(self, name: str, choices: VolumeChoices, credits: CreditsView) -> VolumeKind:
        """The kind that is to be made; raises `BadInput`, and `NotAllowed` for one that the person may not make."""
        if name not in [kind.value for kind in VolumeKind]:
            raise BadInput("Storage to be made is cluster or object storage.", hint="Open Storage again.")
        kind = VolumeKind(name)
        if kind not in choices.kinds:
            who = "an admin of the organization" if kind is VolumeKind.CLUSTER else "members, managers and admins"
            raise NotAllowed(f"{KINDS[kind]} is made by {who}.", hint=f"Ask {credits.contact}.")
        return kind

    def _show(
        self, credits: CreditsView, choices: VolumeChoices, kind: VolumeKind, form: Form, status: int = 200
    ) -> None:
        month_micros = price_per_gib(choices, kind)
        common = choices.object_mount_path if kind is VolumeKind.OBJECT else ""
        self.page(
            "storage_new.html",
            status,
            section="storage",
            organization=credits.organization,
            kind=kind.value,
            title=KINDS[kind],
            line=LINES[kind],
            choices=choices,
            clusters=[(place.name, place.title) for place in choices.clusters],
            teams=team_fields(choices.teams),
            access=ACCESS,
            payers=[("", "the first that may read and write"), *choices.teams.items()],
            usual_path=f"{common}/NAME",
            adopts=kind is VolumeKind.CLUSTER and any(place.adopts for place in choices.clusters),
            price_per_gib=amount(month_micros, choices.currency),
            price=price_of(form.value("size"), choices, kind),
            form=form,
        )


class VolumeHandler(VolumesHandler):
    """One volume: what is known of it, and a form for what the person may change."""

    async def get(self, organization: str, name: str) -> None:
        """What is there now."""
        await self._show(self.choose(organization), name)

    async def post(self, organization: str, name: str) -> None:
        """Change it; then *Storage*, or the form as it was with the reason at its field."""
        credits = self.choose(organization)
        volume = await self.parts.volumes.get(self.principal, organization, name)
        choices = await self.choices(credits)
        values = self.typed_with_teams(CHANGE_FIELDS, tuple(choices.teams))
        try:
            if self.sent("do") == SHOW_PRICE:
                check_size(values["size"])
                await self._show(credits, name, Form(values))
                return
            change = read_change(values, volume, choices.teams)
            await self.parts.volumes.change(self.principal, organization, name, change)
        except NotFound:
            raise
        except PublicError as error:
            await self._show(credits, name, refused(values, error), error.status)
            return
        self.done("changed", organization, name)

    async def _show(self, credits: CreditsView, name: str, form: Form | None = None, status: int = 200) -> None:
        organization = credits.organization
        volume = await self.parts.volumes.get(self.principal, organization, name)
        choices = await self.choices(credits)
        teams = team_fields(choices.teams, volume)
        form = form or Form(change_values(volume, choices.teams))
        self.page(
            "storage_volume.html",
            status,
            address="" if form.errors else self.link(volume_link(organization, name)),
            section="storage",
            organization=organization,
            facts=volume_facts(volume, credits.at_ms),
            actions=volume.actions,
            teams=teams,
            access=ACCESS,
            payers=[(team.name, team.title) for team in teams if not team.fixed or team.name == volume.paying_team],
            price_per_gib=amount(price_per_gib(choices, volume.kind), volume.currency),
            price=price_of(form.value("size"), choices, volume.kind),
            form=form,
        )


class DeleteVolumeHandler(VolumesHandler):
    """The confirmation before a volume is deleted."""

    async def get(self, organization: str, name: str) -> None:
        """What is lost."""
        await self._show(self.choose(organization), name)

    async def post(self, organization: str, name: str) -> None:
        """Do it."""
        credits = self.choose(organization)
        try:
            await self.parts.volumes.delete(self.principal, organization, name)
        except NotFound:
            raise
        except PublicError as error:
            await self._show(credits, name, error)
            return
        self.done("deleted", organization, name)

    async def _show(self, credits: CreditsView, name: str, refusal: PublicError | None = None) -> None:
        volume = await self.parts.volumes.get(self.principal, credits.organization, name)
        facts = volume_facts(volume, credits.at_ms)
        if facts.row.state == "deleting":
            self.see_other(self.link(storage_link(credits.organization)))  # the list says how far it is
            return
        obstacle = refusal
        if obstacle is None and volume.declared:
            obstacle = Conflict("It comes from vessl.yaml and is deleted by taking it out there.")
        elif obstacle is None and "delete" not in volume.actions:
            obstacle = NotAllowed("You may not delete it.", hint=f"Ask {credits.contact}.")
        elif obstacle is None and volume.delete_obstacle:
            obstacle = Conflict(volume.delete_obstacle)
        self.page(
            "storage_delete.html",
            refusal.status if refusal else 200,
            section="storage",
            organization=credits.organization,
            facts=facts,
            adopted=volume.adopted,
            claim=volume.claim,
            obstacle=obstacle.sentence() if obstacle else "",
        )
