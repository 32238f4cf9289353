"""Thin handlers: each takes a Call, asks the registry, shapes the answer by `api/wire`. Nothing is decided here."""
