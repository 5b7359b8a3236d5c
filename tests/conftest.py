"""Test settings: property tests have no deadline, a shared machine is slow at times; `make mutation` takes few examples.

`pytest --hypothesis-profile many` makes 10,000 examples where a test does not say how many.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from loadtests.gpu.building import Built

settings.register_profile("project", deadline=None)
settings.register_profile("many", deadline=None, max_examples=10_000, print_blob=True)
settings.register_profile("mutation", deadline=None, max_examples=25, derandomize=True, database=None)
settings.load_profile("project")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # The suite is a shell's background job. Programs that it starts would inherit that and could not be stopped by hand.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def cuda_built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A tiny bundle with a graph for CUDA and all its proofs; exported once for all tests, because that takes its time."""
    from loadtests.gpu.building import SIZES, build

    return build(SIZES["tiny"], tmp_path_factory.mktemp("cuda"), proved=True)
