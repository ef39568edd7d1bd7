"""What all tests share."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # `from tests.reference import ...` under importlib mode
    sys.path.append(str(ROOT))
