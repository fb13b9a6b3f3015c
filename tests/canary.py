"""The made-up key every test uses. It must never come back: not in a log, a file, a message, a table or an export.

Look for ``CANARY_KEY`` in whatever a test lets the program write; finding it is a leak.
"""

CANARY_KEY = "sk-canary-4f1d2c9b7a6e58d3-never-to-be-seen-again"
