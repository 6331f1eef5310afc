"""The folders of a workspace on this machine: made before the start, emptied, and given to the account it runs as.

A person fills some of these folders, so nothing here follows a link that could lie in them.
"""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from jupyterhub_vessl.model.errors import BadInput, Unavailable
from jupyterhub_vessl.trees import remove_tree

from .local_render import Command

_CLOSED = 0o700
_PASSABLE = 0o710


def prepare(command: Command, data: Path, account_id: int | None) -> None:
    """Make what a command needs to be there.  Blocking.

    Parameters
    ----------
    account_id
        The account that gets the workspace's folders; None leaves them to the hub's.

    Raises
    ------
    Unavailable
        Temporary storage cannot be emptied, a folder cannot be given away, or the home is another account's.
    BadInput
        Something in the home is in the way of a mount.
    """
    try:
        remove_tree(Path(command.temporary))
    except OSError as error:
        raise _stuck("its temporary storage of the last run cannot be emptied") from error
    for path in (data / "run", data / "logs", *map(Path, command.folders)):
        for folder in [*reversed(path.parents), path]:
            # every level is closed to others, however open what a workspace makes below it is
            folder.mkdir(mode=_CLOSED, exist_ok=True)
    for name in ("volumes", "temporary"):
        (data / name).chmod(_CLOSED)
    for file, text in command.files:
        write_closed(Path(file), text, mode=0o644)  # the workspace reads it; the folder is closed to others
    if account_id is not None:
        try:
            for path in map(Path, command.folders):
                give(path, account_id)
            let_pass(map(Path, command.passages), account_id)
        except OSError as error:
            raise _stuck(f"a folder cannot be given to account {account_id}") from error
        owner = Path(command.home_folder).stat().st_uid
        if owner != account_id:
            raise _stuck(f"its home belongs to account {owner}, and workspaces run as {account_id}")
    make_mount_points(Path(command.home_folder), command.mount_points, account_id)


def give(folder: Path, account_id: int) -> None:
    """Give a folder that belongs to root to an account, with all that is in it; any other folder stays as it is.

    A volume belongs to root when it has just been made, and when a workspace of an earlier version wrote it as
    root.  A link is left alone, because only an operator can have put it there.  The folder itself comes last,
    so that what was interrupted is done again.  What is mounted read-only stays root's.  Raises OSError.
    """
    found = folder.lstat()
    if found.st_uid != 0 or not stat.S_ISDIR(found.st_mode) or os.statvfs(folder).f_flag & os.ST_RDONLY:
        return
    owner = f"{account_id}:{account_id}"
    # the system's program, because it goes down any depth; -P and -h: it follows and changes no link's target
    done = subprocess.run(["chown", "-R", "-P", "-h", "--", owner, str(folder)], capture_output=True, check=False)
    if done.returncode != 0 or folder.lstat().st_uid != account_id:
        raise OSError(f"{folder.name} cannot be given away")


def let_pass(folders: Iterable[Path], account_id: int) -> None:
    """Let an account go through folders that belong to the hub, without listing them or any other account's help."""
    for folder in folders:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            os.chown(folder, -1, account_id)
            folder.chmod(stat.S_IMODE(mode) & ~stat.S_IRWXG | _PASSABLE)


def make_mount_points(home: Path, points: Sequence[str], account_id: int | None) -> None:
    """Make the folders in a home over which other volumes are mounted.  Raises `BadInput` where that cannot be.

    Each step is taken from the folder before it, and never through a link: a person's link could lead anywhere.
    """
    for point in points:
        here = os.open(home, os.O_PATH | os.O_DIRECTORY)
        try:
            for part in point.split("/"):
                here = _step(here, part, account_id)
        except OSError:
            raise BadInput(
                f"Your home has something else at {point}; remove it or choose another mount path.", field="storage"
            ) from None
        finally:
            os.close(here)


def _step(folder: int, name: str, account_id: int | None) -> int:
    """Open a folder in a folder, made if need be, and close the outer one unless that fails."""
    try:
        os.mkdir(name, 0o755, dir_fd=folder)
        if account_id is not None:
            os.chown(name, account_id, account_id, dir_fd=folder, follow_symlinks=False)
    except FileExistsError:
        pass
    inner = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
    os.close(folder)
    return inner


def write_closed(path: Path, text: str, mode: int = 0o600) -> None:
    """Write a whole file or nothing; unless ``mode`` says else, only the hub's account can read it."""
    draft = path.with_name(f".{path.name}.new")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
    draft.replace(path)


def _stuck(why: str) -> Unavailable:
    return Unavailable(f"The workspace cannot start: {why}.", hint="Tell an admin.")
