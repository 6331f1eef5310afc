"""The ledger: append-only double entry, usage spans and the records around them, in one SQL database.

Here live the tables, the migrations that make them, and functions that read or write them inside a
transaction.  What may be written is decided in `model` and in the service; nothing here knows HTTP or Jupyter.
"""
