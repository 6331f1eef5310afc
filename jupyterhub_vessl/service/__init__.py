"""The brain: admission, credits, reconciliation, the REST API and the pages.  The only writer of the database.

It never starts or stops a workspace itself; it asks the hub.  `app` wires the parts; nothing else does.
"""
