"""The tokens that the hub gave to earlier runs of a server.

A hub deletes the token of a server when it stops, but only the one that it holds in its memory: after a restart
of the hub it holds none (`User.stop` of JupyterHub 5.5 and 6.1), and a copy of the token would speak for its
owner for as long as the database lives.
"""

from __future__ import annotations

from jupyterhub import orm
from jupyterhub.spawner import Spawner
from jupyterhub.utils import url_escape_path, url_path_join


def revoke_tokens(spawner: Spawner, *, keep: str = "") -> int:
    """Delete every token that the hub made for this server, but not ``keep``, and return how many there were.

    The hub marks them with a note that names the server, and a person may write the same note on a token of
    their own; such a token goes too.
    """
    url = url_path_join(spawner.user.base_url, url_escape_path(spawner.name), "/")
    db = spawner.user.db
    made = db.query(orm.APIToken).filter_by(user_id=spawner.user.orm_user.id, note=f"Server at {url}")
    kept = orm.APIToken.find(db, keep) if keep else None
    revoked = [token for token in made if token is not kept]
    for token in revoked:
        db.delete(token)
    if revoked:
        db.commit()
    return len(revoked)
