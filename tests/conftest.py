"""How many examples the property tests try: ``test`` for every day, ``prove`` for ``make prove``."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("test", max_examples=100, deadline=None)
settings.register_profile("prove", max_examples=10_000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "test"))
