"""The HTTP surface; the only room that knows HTTP."""
