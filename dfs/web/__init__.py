"""REST and pages: parse, call one service, render.  No decisions."""
