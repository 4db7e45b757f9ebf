"""Run at the start of every Python that tests start: see ``timm_beside_cpu_torch``."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
try:
    from timm_beside_cpu_torch import install
finally:
    sys.path.pop()
install()
