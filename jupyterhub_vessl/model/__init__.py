"""The domain of jupyterhub-vessl: frozen values and pure functions.

Here live the words of the product (money, people, the offer, a request, the plan it becomes, the life of a
workspace) and every decision that can be made from them alone.  Nothing here reads a file, a clock, a socket
or a database, and nothing knows Jupyter.  Floats are banned: money is integer micro-credits, time is integer
UTC milliseconds, memory is bytes, CPU is thousandths of a core.
"""
