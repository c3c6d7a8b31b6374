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
    console = Console(
        record=True, width=100, force_terminal=True, color_system="truecolor", file=io.StringIO()
    )
    code = run_demo(DemoOptions(), environment=os.environ, clock=SystemClock(), console=console)
    PICTURE.write_text(console.export_svg(title="make demo"), encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main())
