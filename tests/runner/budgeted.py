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


@dataclass
class Priced:
    """Pico-dollars per token, as the price file has them."""

    given: int
    made: int


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
            f'[[price]]\nprovider = "together"\nnames = ["{model}"]\ninput = "{price.given / 1e6:.6f}"\n'
            f'output = "{price.made / 1e6:.6f}"\nsource = "test"\n'
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
                price = self.prices[entry.model]
                total += entry.input_tokens * price.given + entry.output_tokens * price.made
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
        return max(4 * est * self.prices[model].given + out * self.prices[model].made for model, est, out in rows)
