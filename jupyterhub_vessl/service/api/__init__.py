"""The REST API: HTTP in, `model.wire` out.  No decisions are taken here."""
