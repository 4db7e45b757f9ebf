"""Run the command line: ``python -m attnreport``."""

import sys

from attnreport.cli import main

sys.exit(main())
