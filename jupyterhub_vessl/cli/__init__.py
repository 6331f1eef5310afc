"""The command line: ``jupyterhub-vessl``.  One module for each group of commands; no logic of its own."""
