"""The benchmarks are scripts that import each other; here they can be imported as they are."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
