"""Readers of a session: the wire document, the pump that keeps a view current, text, widget, transport."""
