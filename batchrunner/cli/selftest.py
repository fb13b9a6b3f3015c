"""``selftest``: the promises, put to the test on this machine."""

import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from batchrunner.cli.options import json_option, verb
from batchrunner.cli.render import as_json as print_json
from batchrunner.cli.render import table, talk
from batchrunner.cli.text import plural
from batchrunner.config import Loaded
from batchrunner.core.errors import ExitCode

if TYPE_CHECKING:
    from batchrunner.cli.trials import Play, Proof, Trial

BOOKS: Final = {
    "I1": "every line has one outcome, and nothing stays open",
    "I2": "results are what the database holds, once each",
    "I3": "every answer is on its own row",
    "I4": "both ledgers hold the same calls",
    "money": "both ledgers hold the same tokens and money",
    "tries": "no row fails that was answered well",
    "I7": "the database is sound",
    "I10": "exit codes are the documented ones",
}
"""What is looked at after every trial."""


@verb()
@click.option("--faults", is_flag=True, help="Also faults of network and service, bombs and an outage.")
@json_option
def command(loaded: Loaded, faults: bool, as_json: bool) -> int:
    """Show that the promises hold on this machine: kills, a Ctrl-C, a limit, a revoked key; no cost.

    A provider in a box serves on this machine, from another process, and keeps books of its own. Jobs run against it
    in a temporary folder, and worse and worse things happen to them; then both ledgers, the database and the results
    are held against each other. It takes about half a minute, a minute with --faults. The exit code is 0 if every
    claim held, else 1, and the folder is kept.

    \b
    Examples:
      batchrunner selftest
      batchrunner selftest --faults
      batchrunner selftest --faults --json
    """
    from batchrunner.cli.faulttrials import FAULTS
    from batchrunner.cli.trials import SOUND

    quiet = loaded.settings.quiet
    root = Path(tempfile.mkdtemp(prefix="batchrunner-selftest-")).resolve()
    kept = True
    try:
        proofs = _prove([*SOUND, *(FAULTS if faults else ())], root, quiet=quiet)
        kept = not all(proof.held for proof in proofs)
    except (KeyboardInterrupt, SystemExit):
        kept = False
        raise
    finally:
        if not kept:
            shutil.rmtree(root, ignore_errors=True)
        else:
            talk(f"what is left of it is in {root}")
    _show(proofs, as_json=as_json)
    broken = sum(not proof.held for proof in proofs)
    talk(f"{plural(len(proofs), 'claim')}, {broken} broken", quiet=quiet)
    return ExitCode.BUG if broken else ExitCode.OK


def _prove(plays: "Sequence[Play]", root: Path, *, quiet: bool) -> "list[Proof]":
    """Play all trials, one after the other, with a key that nobody has seen before."""
    from batchrunner.cli.trials import Proof, leaks

    key = f"sk-selftest-{secrets.token_hex(16)}"
    trials: list[Trial] = []
    for play in plays:
        began = time.monotonic()
        trials.append(play(root, key))
        talk(f"{(play.__doc__ or play.__name__).rstrip('.')}: {time.monotonic() - began:.1f} s", quiet=quiet)
    files = sum(path.is_file() for path in root.rglob("*"))
    return [
        *(proof for trial in trials for proof in trial.proofs),
        *_books(trials),
        Proof("the key is in no file", f"{files} files read, databases as raw bytes", tuple(leaks(root, key))),
    ]


def _books(trials: "Sequence[Trial]") -> "Iterator[Proof]":
    """One proof for each thing that is looked at after every trial."""
    from batchrunner.cli.trials import Proof

    for name, words in BOOKS.items():
        claims = [claim for trial in trials for claim in trial.claims if claim.name == name]
        good = sum(not claim.broken for claim in claims)
        breaches = tuple(breach for claim in claims for breach in claim.broken)
        yield Proof(words, f"{good} of {plural(len(claims), 'time')}", breaches)


def _show(proofs: "Sequence[Proof]", *, as_json: bool) -> None:
    if as_json:
        facts = [
            {"claim": proof.claim, "figure": proof.figure, "held": proof.held, "breaches": proof.breaches}
            for proof in proofs
        ]
        print_json({"schema": "batchrunner.selftest/1", "held": all(proof.held for proof in proofs), "claims": facts})
        return
    table(("claim", "figure", "held"), [(proof.claim, proof.figure, "yes" if proof.held else "NO") for proof in proofs])
    for proof in proofs:
        for breach in proof.breaches:
            talk(f"broken: {proof.claim}: {breach}")
