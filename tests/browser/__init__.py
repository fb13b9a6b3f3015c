"""A look at the report in a real browser: `python -m tests.browser`. No part of `make test`, since no browser is."""
