"""`python -m loadtests.peers`: see `command.py`."""

import sys

from loadtests.peers.command import main

sys.exit(main())
