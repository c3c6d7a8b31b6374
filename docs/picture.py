"""Draws docs/demo.svg: what `make demo` shows, from a real run of it.

python docs/picture.py
"""

import io
import os
import sys
from pathlib import Path

from rich.console import Console

from dfs.base.clock import SystemClock
from dfs.local.demo import DemoOptions, run_demo

PICTURE = Path(__file__).resolve().parent / "demo.svg"


def main() -> int:
    """Run the tour and keep its screen."""
    # No terminal: bars that are drawn over again would all be in the picture.
    console = Console(
        record=True, width=118, force_terminal=False, color_system="truecolor", file=io.StringIO()
    )
    code = run_demo(DemoOptions(), environment=os.environ, clock=SystemClock(), console=console)
    PICTURE.write_text(console.export_svg(title="make demo"), encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main())
