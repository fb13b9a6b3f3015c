"""What the tests of buckets and gates judge by: an independent look at what was taken when."""


def most_in_any_window(taken, rate):
    """The most by which what was taken in some window of T seconds exceeds ``rate x T``; ``taken`` are (time, cost)."""
    worst = before = 0.0
    best_start = float("-inf")
    for at, cost in sorted(taken, key=lambda take: take[0]):
        best_start = max(best_start, rate * at - before)
        before += cost
        worst = max(worst, before - rate * at + best_start)
    return worst


def replayed(steps, rate, burst, until):
    """The level of a bucket that begins empty at 0, replayed from scratch; ``steps`` are (time, cost) in order."""
    level = at = 0.0
    for time, cost in steps:
        level = min(burst, level + rate * (time - at)) - cost
        at = time
    return min(burst, level + rate * (until - at))
