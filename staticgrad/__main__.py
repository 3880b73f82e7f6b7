"""``python -m staticgrad`` is the ``staticgrad`` command."""

import sys

from staticgrad.cli import main

sys.exit(main())
