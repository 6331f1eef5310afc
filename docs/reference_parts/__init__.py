"""What `docs/make_reference.py` is made of: words, text, and the pages about models."""
