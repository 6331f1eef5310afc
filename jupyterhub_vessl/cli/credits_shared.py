"""What the commands of ``jupyterhub-vessl credits`` share: how they reach the service, and how they print."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from ..client_credits import CreditsClient
from ..model.errors import NotFound, NotSignedIn, PublicError
from ..model.text import bounded
from ..model.wire_credits import CreditsView

T = TypeVar("T")
Command = TypeVar("Command", bound=Callable[..., Any])
DEFAULT_URL = "http://127.0.0.1:8000/services/vessl/"
TOKEN_VARIABLES = ("VESSL_TOKEN", "JUPYTERHUB_API_TOKEN")
ACCESS_SCOPE = "access:services!service=vessl"
TOKEN_CHARACTERS_MAX = 4096
PIPED_COLUMNS = 1000
"""Nothing is wrapped or cut for a reader that is a program."""
TITLES_SHOWN = 60


@dataclass(frozen=True)
class Link:
    """How one command reaches the service.  ``organization`` is empty when none was named."""

    url: str
    token: str
    organization: str
    output: str

    def ask(self, work: Callable[[CreditsClient, str], Awaitable[T]]) -> T:
        """Run ``work(client, organization)``; a refusal is one line on stderr and exit code 1."""

        async def run() -> T:
            client = CreditsClient(self.url, self.token)
            return await work(client, self.organization or await _only_organization(client))

        try:
            return asyncio.run(run())
        except NotSignedIn:
            refuse(f"The hub does not know this token, or the token has not the scope {ACCESS_SCOPE}.")
        except PublicError as error:
            refuse(error.sentence())

    @property
    def as_json(self) -> bool:
        """Whether a program reads the answer."""
        return self.output == "json"


async def _only_organization(client: CreditsClient) -> str:
    names = [view.organization for view in (await client.me()).credits]
    if not names:
        raise NotFound("You belong to no organization.")
    if len(names) > 1:
        raise click.UsageError(f"You belong to several organizations; choose with --organization: {', '.join(names)}.")
    return names[0]


def refuse(sentence: str) -> NoReturn:
    """One line on stderr, exit code 1."""
    click.echo(bounded(sentence, 1200), err=True)
    sys.exit(1)


# -- options -------------------------------------------------------------------


def service_options(command: Command) -> Command:
    """Give a command the options that say which service, whose token and which organization."""
    for option in (
        click.option("--organization", metavar="NAME", help="Needed when you belong to several."),
        click.option("--token-file", metavar="FILE", help="Has your hub token, instead of VESSL_TOKEN."),
        click.option("--url", metavar="URL", help=f"The service. Default: VESSL_URL, else {DEFAULT_URL}"),
    ):
        command = option(command)
    return command


def link_to_service(url: str | None, token_file: str | None, organization: str | None, output: str) -> Link:
    """What the options and the environment say; raises `click.UsageError` when that is not enough."""
    chosen = url or os.environ.get("VESSL_URL") or DEFAULT_URL
    return Link(_checked_url(chosen), _token(token_file), organization or "", output)


def reaches_service(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `service_options` and, as its first argument, the `Link` that they make."""

    @service_options
    @functools.wraps(command)
    def wrapped(
        url: str | None, token_file: str | None, organization: str | None, output: str = "text", **arguments: Any
    ) -> None:
        command(link_to_service(url, token_file, organization, output), **arguments)

    return wrapped


def prints(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the option ``-o``."""
    choice = click.Choice(["text", "json"])
    return click.option("-o", "--output", type=choice, default="text", help="How to print the answer.")(command)


def _checked_url(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise click.UsageError(f"The URL of the service begins with http:// or https://, such as {DEFAULT_URL}")
    return url


def _token(file: str | None) -> str:
    """The hub token; from a file or the environment, never from the command line, which everybody can read."""
    if file is not None:
        try:
            token = Path(file).read_text(encoding="ascii")[: TOKEN_CHARACTERS_MAX + 1].strip()
        except (OSError, UnicodeDecodeError) as error:
            raise click.UsageError(f"--token-file cannot be read: {bounded(error)}") from error
        where = f"--token-file {bounded(file)}"
    else:
        where = next((name for name in TOKEN_VARIABLES if os.environ.get(name)), "")
        token = os.environ.get(where, "").strip()
    if not where:
        raise click.UsageError("There is no token: set VESSL_TOKEN, or name a file with --token-file.")
    if not token or len(token) > TOKEN_CHARACTERS_MAX or not token.isascii() or not token.isprintable() or " " in token:
        raise click.UsageError(f"{where} holds no token.")
    return token


# -- printing ------------------------------------------------------------------


def print_json(answer: BaseModel | dict[str, Any]) -> None:
    """An answer for programs: money in micro-credits, instants in UTC milliseconds."""
    data = answer.model_dump(mode="json") if isinstance(answer, BaseModel) else answer
    click.echo(json.dumps(data, indent=2, ensure_ascii=False))


def print_pairs(title: str, pairs: Iterable[tuple[str, str]]) -> None:
    """A title, and below it names and values."""
    click.echo(bounded(title))
    shown = [(name, value) for name, value in pairs if value]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        click.echo(f"  {name:<{width}}  {bounded(value)}")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str] = ()) -> None:
    """A table; ``right`` names the columns of numbers.  Nothing in a cell is taken for markup or control."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", no_wrap=name in right, overflow="fold")
    for row in rows:
        table.add_row(*(bounded(cell, 120) for cell in row))
    console = Console(file=sys.stdout, markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = PIPED_COLUMNS
    console.print(table)


def instant(at_ms: int | None) -> str:
    """``2026-11-01 12:00:00 UTC``; empty for None."""
    if at_ms is None:
        return ""
    return datetime.fromtimestamp(at_ms // 1000, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


def organization_title(view: CreditsView) -> str:
    """An organization for people."""
    return f"{bounded(view.title, TITLES_SHOWN)} ({view.organization})"
