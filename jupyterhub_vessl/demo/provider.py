"""The demo's identity provider: ``python -m jupyterhub_vessl.demo.provider PORT``.

It is `oidc_provider_mock` on loopback with the demo's people: signed ID tokens, no passwords.  Its sign-in
page loads a style sheet from the internet; ours needs nothing but the page itself.
"""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from typing import Any

from .people import PEOPLE

SESSION = timedelta(days=30)

_SIGN_IN_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sign in · demo identity provider</title>
<style>
  :root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }
  main { max-width: 26rem; margin: 4rem auto; padding: 0 1rem; }
  button, input { font: inherit; padding: .5rem 1rem; }
  form p { display: flex; gap: 1rem; align-items: center; margin: .5rem 0; }
  form p button { min-width: 6rem; }
</style>
<main>
  <h1>Who are you?</h1>
  <p>The demo's identity provider knows these people and asks for no password.</p>
  <form method="post">
  {% for sub in predefined_users %}
    <p><button type="submit" name="sub" value="{{ sub }}">{{ sub }}</button> {{ demo_names.get(sub, "") }}</p>
  {% endfor %}
  </form>
  <form method="post"><button type="submit" name="action" value="deny">Cancel</button></form>
</main>
</html>
"""


def application() -> Any:
    """The provider as a WSGI application, without the debugger that the mock wraps around itself."""
    os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # plain HTTP: it listens on loopback only
    import jinja2
    import oidc_provider_mock

    users = [oidc_provider_mock.User(sub=person.sub, claims=person.claims()) for person in PEOPLE]
    app: Any = oidc_provider_mock.app(user_claims=users, access_token_max_age=SESSION)
    app.debug = False
    app.wsgi_app = app.wsgi_app.app
    page = jinja2.DictLoader({"authorization_form.html": _SIGN_IN_PAGE})
    app.jinja_loader = jinja2.ChoiceLoader([page, app.jinja_loader])
    app.jinja_env.globals["demo_names"] = {person.sub: person.name for person in PEOPLE}
    return app


def main(port: int) -> None:
    """Serve on loopback until killed."""
    from werkzeug.serving import make_server

    make_server("127.0.0.1", port, application(), threaded=True).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]))
