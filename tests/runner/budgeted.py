"""Runs under a budget in virtual time, and what the provider in a box charged for them, counted apart."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batchrunner.api import RunReport, session
from batchrunner.core.budget import Budget
from batchrunner.simulator import Settings
from tests.runner.world import World

PICO = 10**12
OTHER = "Qwen/Qwen2.5-7B-Instruct-Turbo"


THINKER = "MiniMaxAI/MiniMax-M3"
WHOLE = 1_000_000


@dataclass
class Priced:
    """Pico-dollars per token, as the price file has them; what is None costs as ``given`` and ``made`` do."""

    given: int
    made: int
    cached: int | None = None
    thought: int | None = None
    above: tuple[tuple[int, "Priced"], ...] = ()
    """What longer prompts than so many tokens cost, in order: all four prices anew."""
    off: int = 0
    """The discount, in millionths."""

    def charge(self, given: int, cached: int, made: int, thought: int) -> int:
        """What a call costs by these prices, rounded up: ``cached`` is a part of ``given``, ``thought`` of ``made``."""
        mine = self
        for tokens, more in self.above:
            mine = more if given > tokens else mine
        dear = mine.given if mine.cached is None else mine.cached
        thinking = mine.made if mine.thought is None else mine.thought
        sum_ = (given - cached) * mine.given + cached * dear + (made - thought) * mine.made + thought * thinking
        return -(-sum_ * (WHOLE - self.off) // WHOLE)

    def worst(self, given: int, made: int) -> int:
        """The most that a call of so many tokens at most may cost, however long its prompt is then."""
        reached = (self, *(more for tokens, more in self.above if given > tokens))
        most = max(given * max(p.given, p.cached or 0) + made * max(p.made, p.thought or 0) for p in reached)
        return -(-most * (WHOLE - self.off) // WHOLE)

    def rows(self) -> list[str]:
        """The prices as lines of a price file."""
        named = {"input": self.given, "output": self.made, "cached": self.cached, "reasoning": self.thought}
        lines = [f'{name} = "{pico / 1e6:.6f}"' for name, pico in named.items() if pico is not None]
        lines += [f'discount = "{self.off / 1e4:.4f}"'] if self.off else []
        for tokens, more in self.above:
            lines += "[[price.above]]", f"tokens = {tokens}", *more.rows()
        return lines


@dataclass
class BudgetWorld:
    """A world with prices of its own."""

    folder: Path
    prices: dict[str, Priced]
    settings: Settings = field(default_factory=lambda: Settings(latency=1.0, latency_jitter=0.5))
    fault_for: Callable[[int, str, bytes], str | None] | None = None
    world: World = field(init=False)

    def __post_init__(self) -> None:
        self.world = World(self.folder, self.settings, self.fault_for)
        rows = [
            "\n".join(('[[price]]\nprovider = "together"', f'names = ["{model}"]\nsource = "test"', *price.rows(), ""))
            for model, price in self.prices.items()
        ]
        (self.folder / "prices.toml").write_text("\n".join(rows))

    def flags(self, **flags: Any) -> dict[str, Any]:
        return {"price_files": [str(self.folder / "prices.toml")], **flags}

    async def work(self, path: Path, **flags: Any) -> RunReport:
        return await self.world.work(path, **self.flags(**flags))

    def budget(self, budget: Budget) -> None:
        with session(self.world.loaded()) as held:
            held._store.keep_budget(budget, self.world.clock.now())

    def charged(self, since: int = 0, upto: float = float("inf"), after: float = 0.0) -> int:
        """What the provider charges for the calls that it took, by its own count, with our prices."""
        total = 0
        for entry in list(self.world.provider.ledger.entries)[since:]:
            if entry.billed and after <= entry.wall < upto:
                thought = (entry.usage or {}).get("completion_tokens_details", {}).get("reasoning_tokens", 0)
                used = (entry.input_tokens, entry.cached_tokens, entry.output_tokens, thought)
                total += self.prices[entry.model].charge(*used)
        return total

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{self.folder}/q.db?mode=ro", uri=True)) as connection:
            return connection.execute(query).fetchall()

    def committed(self, where: str = "1") -> int:
        """What our own ledger commits, row by row: cost where it is known, hold where it may have been billed."""
        ((total,),) = self.ask(
            "SELECT ifnull(sum(CASE WHEN ended IS NULL OR billing = 'unknown' THEN hold"
            f" WHEN billing = 'billed' THEN cost ELSE 0 END), 0) FROM attempts WHERE {where}"
        )
        return total

    def worst(self) -> int:
        ((most,),) = self.ask("SELECT ifnull(max(hold), 0) FROM attempts")
        return most

    def next_hold(self) -> int:
        """The largest worst case of what is queued still, by the estimate that the queue holds."""
        rows = self.ask(
            "SELECT m.model, r.est_in, r.max_out FROM requests AS r JOIN models AS m ON m.id = r.model_id"
            " WHERE r.state = 'queued'"
        )
        return max(self.prices[model].worst(4 * est, out) for model, est, out in rows)
