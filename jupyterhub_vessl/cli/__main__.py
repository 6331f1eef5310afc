"""``python -m jupyterhub_vessl.cli``: the same as ``jupyterhub-vessl``, for this very Python."""

from . import main

main()
