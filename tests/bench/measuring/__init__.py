"""Asking a served portal for its pages, and telling how long it took."""
