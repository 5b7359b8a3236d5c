"""Test settings: property tests have no deadline, a shared machine is slow at times; `make mutation` takes few examples.

`pytest --hypothesis-profile many` makes 10,000 examples where a test does not say how many.
"""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("project", deadline=None)
settings.register_profile("many", deadline=None, max_examples=10_000, print_blob=True)
settings.register_profile("mutation", deadline=None, max_examples=25, derandomize=True, database=None)
settings.load_profile("project")
