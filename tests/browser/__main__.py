"""Looks at the report of a large ledger in a real Chromium, and says what held: `python -m tests.browser`.

Each check says what it looked at and what it found. ``--write`` puts that into docs/report.md, ``--pictures DIR`` keeps
what a person should look at, too: light, dark, narrow, and the printed pages.
"""

import argparse
import json
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from tests.browser.chromium import Browser, browser, found

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "report.md"
BEGIN, END = "<!-- browser:begin -->", "<!-- browser:end -->"
PAYLOAD = '<img src=x onerror=pwned=1><script>pwned=1</script>" onmouseover="pwned=1'
"""What one model, one job, one tag and one error are called."""
A4 = (595, 842)
"""Points."""


class Finding(NamedTuple):
    what: str
    holds: bool
    seen: str


Check = Callable[[Browser, Path], Finding]


def batchrunner(folder: Path, *words: str) -> str:
    """Run the program in a folder and return what it printed."""
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"}
    command = [sys.executable, "-m", "batchrunner", *words]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        sys.exit(f"{' '.join(words)} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def ledger(folder: Path, rows: int) -> None:
    """Make a month's ledger in which some names are hostile."""
    script = str(ROOT / "bench" / "bigledger.py")
    subprocess.run([sys.executable, script, "batchrunner.db", "--rows", str(rows)], cwd=folder, check=True, timeout=300)
    with closing(sqlite3.connect(folder / "batchrunner.db")) as db, db:
        db.execute("UPDATE models SET model = ? WHERE id = 2", (PAYLOAD,))
        db.execute("UPDATE jobs SET name = ? WHERE id = 2", (PAYLOAD,))
        db.execute("UPDATE jobs SET tags = ? WHERE id = 3", (json.dumps({PAYLOAD[:40]: PAYLOAD}),))
        db.execute("UPDATE attempts SET error = ? WHERE failure = 'timeout'", (PAYLOAD,))


def budgets(folder: Path) -> None:
    """Set a budget of each kind; one of them is used up."""
    batchrunner(folder, "budget", "set", "200", "--month")
    batchrunner(folder, "budget", "set", "60", "--warn", "50,80")
    batchrunner(folder, "budget", "set", "5", "--tag", "team=search", "--day")
    batchrunner(folder, "budget", "set", "0.5", "--job", "2")


def address(folder: Path) -> str:
    return (folder / "report.html").as_uri()


# ----------------------------------------------------------------------------------------------------------- the checks

TABLE = """key => [...document.querySelectorAll(`#${key} tbody tr, #${key} tfoot tr:last-child`)].map(row => ({
  name: row.cells[0].textContent, cells: [...row.cells].map(c => c.querySelector('data')?.value ?? null),
  heads: [...document.querySelectorAll(`#${key} thead th`)].map(h => h.textContent)}))"""
COLUMNS = {"Recorded": "recorded", "Estimated": "estimated", "Possibly billed": "possibly_billed", "Wasted": "wasted"}


def figures_are_those_of_costs(page: Browser, folder: Path) -> Finding:
    page.shown(width=1280)
    page.open(address(folder))
    compared, wrong = 0, []
    for table, by in (("models", "model"), ("jobs", "job"), ("endpoints", "endpoint"), ("tag-0", None)):
        rows = page.tell(f"({TABLE})('{table}')")
        slices = by or f"tag:{rows[0]['heads'][0]}"
        facts = json.loads(batchrunner(folder, "costs", "--by", slices, "--json"))
        told = {row[slices]: row for row in facts["rows"]} | {"Total": facts["total"]}
        known = {str(name) if name is not None else "unallocated": row for name, row in told.items()}
        for row in rows:
            mine = dict(zip(row["heads"], row["cells"], strict=True))
            compared += 1
            wrong += _differences(mine, known.get(row["name"]), f"{slices} {row['name']}")
        if len(rows) != len(known):
            wrong.append(f"{table} has {len(rows)} rows, costs {len(known)}")
    seen = f"{compared} rows of 4 tables, 5 figures each" + (f"; {wrong[:3]}" if wrong else "")
    return Finding(
        "figures read from the page equal `costs --json`, to the last digit", not wrong and compared > 20, seen
    )


KEYS = "[...document.querySelectorAll('.keys > div')].map(d => [d.id, d.querySelector('data').value])"


def sums_are_those_of_costs_in_every_place(page: Browser, folder: Path) -> Finding:
    """Compare the key figures, each day, and each budget."""
    page.open(address(folder))
    total = json.loads(batchrunner(folder, "costs", "--json"))["total"]
    shown, facts = dict(page.tell(KEYS)), total["usd"] | {"calls": total["calls"]}
    pairs = [(name, shown["key-" + name.replace("_", "-")], facts[name]) for name in (*COLUMNS.values(), "calls")]
    days = {row["day"]: row["usd"] for row in json.loads(batchrunner(folder, "costs", "--by", "day", "--json"))["rows"]}
    for name in ("recorded", "estimated", "possibly_billed"):
        for row in page.tell(f"({TABLE})('daily-{name}-table')")[:-1]:
            day = f"{datetime.strptime(row['name'], '%d %b %Y'):%Y-%m-%d}"  # noqa: DTZ007 - a day has no zone
            pairs.append((f"{name} of {day}", row["cells"][-1], days[day][name] if day in days else "0"))
    told = json.loads(batchrunner(folder, "budget", "list", "--json"))["budgets"]
    caps = {Decimal(one["cap"]): one for one in told}
    for row in page.tell(f"({TABLE})('budgets')"):
        mine = dict(zip(row["heads"], row["cells"], strict=True))
        facts = caps.pop(Decimal(mine["Cap"]))
        names = {"Committed": "committed", "Spent": "spent", "Possibly billed": "possibly_billed", "Left": "left"}
        pairs += [(f"{key} of {row['name']}", mine[head], facts[key]) for head, key in names.items()]
    wrong = [pair for pair in pairs if Decimal(pair[1]) != Decimal(pair[2])]
    seen = f"{len(pairs)} figures, {len(told)} budgets" + (f"; {wrong[:3]}" if wrong else "")
    holds = not wrong and not caps and len(told) == 4 and len(pairs) > 90
    return Finding("key figures, days and budgets equal `costs --json` and `budget list --json`", holds, seen)


def _differences(mine: dict[str, Any], facts: dict[str, Any] | None, name: str) -> list[str]:
    if facts is None:
        return [f"costs has no {name}"]
    calls = [] if int(mine["Calls"]) == facts["calls"] else [f"{name}: {mine['Calls']} calls"]
    pairs = [(mine[column], facts["usd"][key]) for column, key in COLUMNS.items()]
    return calls + [f"{name}: {one} and {other}" for one, other in pairs if Decimal(one or "0") != Decimal(other)]


def nobody_is_asked_and_nothing_is_stopped(page: Browser, folder: Path) -> Finding:
    page.shown(width=1280)
    page.open(address(folder))
    page.tell("document.querySelectorAll('details').forEach(d => d.open = true)")
    asked = [
        event["params"]["request"]["url"] for event in page.events if event["method"] == "Network.requestWillBeSent"
    ]
    names = ("Log.entryAdded", "Audits.issueAdded", "Runtime.exceptionThrown", "Page.javascriptDialogOpening")
    trouble = [event["method"] for event in page.events if event["method"] in names]
    seen = f"{len(asked)} request (the file itself), {len(trouble)} violations, warnings or errors"
    return Finding(
        "no request but the file, no violation of its policy, no error", len(asked) == 1 and not trouble, seen
    )


def hostile_names_stay_text(page: Browser, folder: Path) -> Finding:
    page.open(address(folder))
    page.tell("for (const e of document.querySelectorAll('*')) e.dispatchEvent(new Event('mouseover'))")
    shown = page.tell(f"document.body.textContent.split({json.dumps(PAYLOAD)}).length - 1")
    active = page.tell("document.querySelectorAll('img, iframe, object, embed, [onerror], [onmouseover]').length")
    ran = page.tell("typeof window.pwned !== 'undefined'")
    seen = f"shown {shown} times as text, {active} active elements, {'it ran' if ran else 'nothing ran'}"
    return Finding(
        "hostile names of models, jobs and tags, and errors, stay text", shown > 5 and not active and not ran, seen
    )


def nothing_is_wider_than_the_page(page: Browser, folder: Path) -> Finding:
    widths = {}
    for width in (360, 768, 1280, 1920):
        page.shown(width=width)
        page.open(address(folder))
        widths[width] = page.tell("document.documentElement.scrollWidth")
    return Finding("no sideways scrolling of the page", all(wide <= at for at, wide in widths.items()), str(widths))


CONTRAST = """(() => { const lum = c => { const v = c.map(x => { x /= 255; return x <= .03928 ? x / 12.92 :
 ((x + .055) / 1.055) ** 2.4 }); return .2126 * v[0] + .7152 * v[1] + .0722 * v[2] };
 const rgb = s => s.match(/[\\d.]+/g).map(Number); const ground = e => { for (; e; e = e.parentElement) {
 const c = rgb(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] === 1) return c }
 return [255, 255, 255] };
 let low = 99, where = ''; for (const e of document.querySelectorAll('body *')) {
 const told = e.closest('svg') ? e.tagName === 'text' : [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
 if (!told) continue;
 if (['SCRIPT', 'STYLE'].includes(e.tagName)) continue; const s = getComputedStyle(e);
 const a = lum(rgb(e.tagName === 'text' ? s.fill : s.color)), b = lum(ground(e.closest('svg')?.parentElement ?? e));
 const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
 if (ratio < low) { low = ratio; where = e.tagName + '.' + (e.getAttribute('class') ?? '') } }
 return [low, where, getComputedStyle(document.body).backgroundColor] })()"""


def light_and_dark_can_be_read(page: Browser, folder: Path) -> Finding:
    told = {}
    for dark in (False, True):
        page.shown(width=1280, dark=dark)
        page.open(address(folder))
        told["dark" if dark else "light"] = page.tell(CONTRAST)
    grounds = {ground for _, _, ground in told.values()}
    holds = len(grounds) == 2 and all(low >= 4.5 for low, _, _ in told.values())
    seen = ", ".join(f"{scheme} {low:.1f} ({where})" for scheme, (low, where, _) in told.items())
    return Finding(
        "every text has a contrast of at least 4.5 (WCAG 2.2, 1.4.3), light and dark", holds, f"lowest: {seen}"
    )


def it_can_be_read_without_a_script(page: Browser, folder: Path) -> Finding:
    read = "document.querySelector('main').innerText.replace(/\\s+/g, ' ')"
    page.shown(width=1280, script=False)
    page.open(address(folder))
    without, buttons = page.tell(read), page.tell("document.querySelectorAll('button').length")
    page.shown(width=1280)
    page.open(address(folder))
    same = without == page.tell(read)
    return Finding(
        "the same text is there where no script may run", same and buttons == 0, f"{len(without):,} characters"
    )


def tables_can_be_sorted(page: Browser, folder: Path) -> Finding:
    page.shown(width=1280)
    page.open(address(folder))
    column = (
        "[...document.querySelectorAll('#models tbody tr')].map(r => Number(r.cells[1].querySelector('data').value))"
    )
    orders = []
    for _ in range(2):
        page.tell("document.querySelector('#models thead th:nth-child(2) button').click()")
        orders.append((page.tell(column), page.tell("document.querySelector('#models [aria-sort]').ariaSort")))
    (down, first), (up, second) = orders
    holds = down == sorted(down, reverse=True) and up == sorted(up) and (first, second) == ("descending", "ascending")
    foot = page.tell("document.querySelector('#models tfoot tr:last-child').textContent.startsWith('Total')")
    return Finding(
        "a click on a heading sorts, says so to a screen reader, and leaves the total below",
        holds and foot,
        f"{len(down)} rows",
    )


def a_screen_reader_finds_its_way(page: Browser, folder: Path) -> Finding:
    page.open(address(folder))
    nodes = page.ask("Accessibility.getFullAXTree")["nodes"]

    def role(node: dict[str, Any]) -> str:
        return str(node.get("role", {}).get("value", ""))

    counted: dict[str, int] = {}
    nameless = []
    for node in nodes:
        if node.get("ignored") or role(node) not in (
            "image",
            "img",
            "table",
            "region",
            "heading",
            "main",
            "navigation",
            "columnheader",
        ):
            continue
        counted[role(node)] = counted.get(role(node), 0) + 1
        if not node.get("name", {}).get("value", "").strip() and role(node) != "main":
            nameless.append(role(node))
    seen = ", ".join(f"{number} {name}" for name, number in sorted(counted.items()))
    return Finding(
        "every chart, table, part and heading has a name (accessibility tree)",
        not nameless and counted.get("main") == 1,
        seen,
    )


STOP = """(() => { const e = document.activeElement, s = getComputedStyle(e);
 return [[...document.querySelectorAll('*')].indexOf(e), s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) > 0,
 e.tagName] })()"""


def keys_lead_through_it_in_order(page: Browser, folder: Path) -> Finding:
    """Press the tab key as a person would."""
    page.shown(width=1280)
    page.open(address(folder))
    stops = []
    for _ in range(60):
        for kind in ("rawKeyDown", "keyUp"):
            page.ask("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        stops.append(page.tell(STOP))
    places = [place for place, _, _ in stops]
    unseen = [name for _, seen, name in stops if not seen]
    holds = places == sorted(set(places)) and not unseen and stops[0][2] == "A"
    seen = f"{len(stops)} stops, {len({name for *_, name in stops})} kinds" + (
        f"; unseen: {unseen[:5]}" if unseen else ""
    )
    return Finding("the tab key leads through it in its order, and it is seen where it is", holds, seen)


def it_prints_on_a4(page: Browser, folder: Path) -> Finding:
    page.shown(width=1280)
    page.open(address(folder))
    page.printed(folder / "report.pdf")
    boxes = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", (folder / "report.pdf").read_bytes())
    sizes = {(round(float(wide)), round(float(high))) for wide, high in boxes}
    page.shown(width=688, media="print")  # 182 mm, what A4 leaves between the margins
    page.open(address(folder))
    wide = page.tell(
        "Math.max(...[...document.querySelectorAll('table')].filter(t => t.offsetParent).map(t => t.offsetWidth))"
    )
    holds = all(abs(w - A4[0]) <= 2 and abs(h - A4[1]) <= 2 for w, h in sizes) and 0 < len(boxes) <= 15 and wide <= 688
    return Finding(
        "it prints on A4, no table is cut", holds and bool(sizes), f"{len(boxes)} pages, widest table {wide} of 688 px"
    )


CHECKS: tuple[Check, ...] = (
    figures_are_those_of_costs,
    sums_are_those_of_costs_in_every_place,
    nobody_is_asked_and_nothing_is_stopped,
    hostile_names_stay_text,
    nothing_is_wider_than_the_page,
    light_and_dark_can_be_read,
    it_can_be_read_without_a_script,
    tables_can_be_sorted,
    a_screen_reader_finds_its_way,
    keys_lead_through_it_in_order,
    it_prints_on_a4,
)


def keep_pictures(page: Browser, folder: Path, target: Path) -> None:
    """Keep what a person should look at."""
    target.mkdir(parents=True, exist_ok=True)
    for name, width, dark in (("light", 1280, False), ("dark", 1280, True), ("narrow", 360, False)):
        page.shown(width=width, dark=dark)
        page.open(address(folder))
        page.picture(target / f"{name}.png")
    (target / "report.pdf").write_bytes((folder / "report.pdf").read_bytes())


def main() -> None:
    """Look, say what was found, and exit with 1 where something does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.browser", description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000, help="requests of the ledger")
    parser.add_argument("--write", action="store_true", help=f"put the findings into {DOCUMENT.name}")
    parser.add_argument("--pictures", type=Path, metavar="DIR")
    given = parser.parse_args()
    program = found()
    if program is None:
        sys.exit("no Chromium here: install one, such as the package `chromium`")
    with tempfile.TemporaryDirectory() as name, browser(program) as page:
        folder = Path(name)
        ledger(folder, given.rows)
        budgets(folder)
        batchrunner(folder, "report")
        findings = [check(page, folder) for check in CHECKS]
        version = page.ask("Browser.getVersion")["product"]
        size = (folder / "report.html").stat().st_size
        if given.pictures:
            keep_pictures(page, folder, given.pictures)
    lines = [f"{datetime.now(UTC):%Y-%m-%d}, {version}; {given.rows:,} requests, a page of {size / 1000:,.0f} kB.", ""]
    lines += ["| looked at | holds | found |", "|---|---|---|"]
    lines += [f"| {one.what} | {'yes' if one.holds else '**no**'} | {one.seen.replace('|', '/')} |" for one in findings]
    print("\n".join(lines))
    if given.write:
        before, rest = DOCUMENT.read_text(encoding="utf-8").split(BEGIN)
        DOCUMENT.write_text(f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{rest.split(END)[1]}", encoding="utf-8")
    sys.exit(0 if all(one.holds for one in findings) else 1)


if __name__ == "__main__":
    main()
