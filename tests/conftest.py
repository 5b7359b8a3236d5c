"""Test settings: property tests have no deadline, because a shared machine is slow at times."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("project", deadline=None)
settings.load_profile("project")
