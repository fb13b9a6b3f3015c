"""The ground floor: values and decisions.

Standard library only (and tenacity's curves in ``retry``): no I/O, no await. The clock and the dice are handed in.
"""
