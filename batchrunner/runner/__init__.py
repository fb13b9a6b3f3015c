"""The corridor and what surrounds it."""
