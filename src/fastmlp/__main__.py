"""`python -m fastmlp`: the same as the command `fastmlp`."""

import sys

from .cli import main

sys.exit(main())
