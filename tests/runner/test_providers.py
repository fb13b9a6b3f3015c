"""Several providers in one queue: lines choose among the configured ones by name, and can bring none."""

import json
from collections import Counter
from pathlib import Path

import pytest

from batchrunner.api import Outside, session
from batchrunner.core.errors import InputError
from batchrunner.runner.checker import check
from tests.runner.world import World

pytestmark = pytest.mark.usefixtures("virtual_time")

CONFIG = """
[providers.vllm]
base_url = "http://127.0.0.1:8000"
key_env = ""
concurrency = 2
prices = "vllm.toml"
"""
PRICES = '[[price]]\nprovider = "vllm"\nnames = ["*"]\ninput = "1"\noutput = "2"\n'


class Two(World):
    """A world that counts which provider each transport was made for."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.made: list[str] = []
        (folder / "batchrunner.toml").write_text(CONFIG)
        (folder / "vllm.toml").write_text(PRICES)

    def outside(self) -> Outside:
        def transport(provider: str):
            self.made.append(provider)
            return self._transport(provider)

        return Outside(clock=self.clock, dice=super().outside().dice, transport=transport, offload=self.offload)


def aimed(line: dict[str, object], provider: object) -> dict[str, object]:
    return {**line, "metadata": {"provider": provider}}


async def test_lines_of_one_file_go_to_the_providers_that_they_name(folder: Path) -> None:
    world = Two(folder)
    plain, own = world.chats(4), world.chats(3, prefix="own")
    path = world.file([*plain, *(aimed(line, "vllm") for line in own)])
    report = await world.work(path)
    assert report.tally.succeeded == 7
    assert sorted(world.made) == ["together", "vllm"]
    rows = world.results(path)
    assert Counter((row.row.provider, row.custom_id.split("-")[0]) for row in rows) == {
        ("together", "r"): 4,
        ("vllm", "own"): 3,
    }
    with session(world.loaded()) as held:
        costs = {cost.key[0]: cost for cost in held.costs(["provider"])}
    vllm = costs["vllm"]
    assert vllm.recorded == 1_000_000 * vllm.input + 2_000_000 * vllm.output


async def test_a_line_beats_the_flag(folder: Path) -> None:
    world = Two(folder)
    first, second = world.chats(2)
    path = world.file([first, aimed(second, "together")])
    await world.work(path, provider="vllm")
    assert [row.row.provider for row in _rows(world)] == ["vllm", "together"]


def _rows(world: World):
    with session(world.loaded()) as held:
        return list(held.results("1"))


@pytest.mark.parametrize("name", ["nowhere", "http://127.0.0.1:1", "vllm@evil.example", "", "VLLM"])
async def test_a_name_that_is_not_configured_is_refused_with_its_place(folder: Path, name: str) -> None:
    world = Two(folder)
    line = world.chats(1)[0]
    path = world.file([line, aimed({**line, "custom_id": "x"}, name)])
    with session(world.loaded()) as held, pytest.raises(InputError) as caught:
        held.load(str(path))
    (problem,) = caught.value.problems
    assert problem.line == 2
    assert problem.column == path.read_text().splitlines()[1].index('{"provider"') + 1
    assert "configured: openai, together, vllm" in problem.reason


@pytest.mark.parametrize("name", [1, ["together"], {"base_url": "http://127.0.0.1:1"}])
async def test_what_is_no_name_is_refused(folder: Path, name: object) -> None:
    world = Two(folder)
    path = world.file([aimed(world.chats(1)[0], name)])
    with pytest.raises(InputError) as caught:
        check(str(path), world.loaded().settings.job)
    assert "must be the name of a configured provider" in caught.value.problems[0].reason


async def test_check_looks_at_a_line_by_the_rules_of_its_own_provider(folder: Path) -> None:
    world = Two(folder)
    line = world.chats(1)[0]
    line["body"]["stop"] = "END"
    path = world.file([aimed(line, "openai"), aimed({**line, "custom_id": "x"}, "together")])
    dialects = {name: provider.quirks for name, provider in world.loaded().settings.providers.items()}
    checked = check(str(path), world.loaded().settings.job, dialects=dialects)
    assert [problem.line for problem in checked.warnings] == [2]
    assert json.loads(path.read_text().splitlines()[0])["metadata"] == {"provider": "openai"}
