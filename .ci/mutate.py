"""Mutation testing of one module, by hand: `CONTRIBUTING.md` says how and what it gave.

Cosmic Ray makes the mutants; each is written into a copy of the project and tested there, in a
fork of this process, which has the heavy libraries loaded already. Numba's compilation is turned
off where the mutated functions are compiled, so that no machine code can stand in for a mutant.
"""

from __future__ import annotations

import argparse
import difflib
import gc
import importlib
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
DENSITY = "pmnbmix/mixture/density.py"
EM = "pmnbmix/point/em.py"
RELABEL = "pmnbmix/labels/relabel.py"
LOO = "pmnbmix/selection/loo.py"
# The tests of each module, without those that fit a posterior first.
TESTS = {
    DENSITY: ["tests/mixture/test_density.py"],
    EM: ["tests/point/test_em_steps.py", "tests/point/test_em.py", "-k", "not never_falls"],
    RELABEL: ["tests/labels/test_relabel_exact.py"],
    LOO: ["tests/selection/test_loo_exact.py"],
}
# What each module imports of the package; none of it imports the module.
BELOW = {
    DENSITY: "pmnbmix.compiled pmnbmix.mixture.special",
    EM: "pmnbmix.point.objective pmnbmix.mixture.params",
    RELABEL: "pmnbmix.labels.ecr pmnbmix.labels.relabel_draws pmnbmix.tree.reading",
    LOO: "pmnbmix.labels.diagnose pmnbmix.labels.gates pmnbmix.tree.reading pmnbmix.mixture.spec",
}
COMPILED = (DENSITY, EM)
# one thread: a fork copies no others
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
PRELOADED = (
    "numpy numba pandas scipy.stats scipy.optimize pytest hypothesis mpmath dask.array arviz"
)
ARITHMETIC = ("Add", "Sub", "Mul", "Div")
COMPARISONS = ("Eq", "NotEq", "Lt", "LtE", "Gt", "GtE")
PLAIN = (
    "AddNot ReplaceTrueWithFalse ReplaceFalseWithTrue ReplaceAndWithOr ReplaceOrWithAnd "
    "ReplaceBreakWithContinue ReplaceContinueWithBreak ExceptionReplacer NumberReplacer "
    "ZeroIterationForLoop"
)


def operators() -> list[str]:
    """What is done to the source; nothing that only a type error could come of."""
    pairs = [("Pow", "Mul"), ("FloorDiv", "Div"), ("BitAnd", "BitOr")]
    pairs += [(old, new) for old in ARITHMETIC for new in ARITHMETIC if old != new]
    names = [f"ReplaceBinaryOperator_{old}_{new}" for old, new in pairs]
    pairs = [(old, new) for old in COMPARISONS for new in COMPARISONS if old != new]
    pairs += [("Is", "IsNot"), ("IsNot", "Is")]
    names += [f"ReplaceComparisonOperator_{old}_{new}" for old, new in pairs]
    names += ["ReplaceUnaryOperator_USub_UAdd", "ReplaceUnaryOperator_Delete_Not"]
    return sorted([*names, *PLAIN.split()])


def mutants(source: str) -> list[tuple[str, str]]:
    """Every mutant of a source, with its name."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    found = []
    for name in operators():
        operator, occurrence = get_operator(f"core/{name}")(), 0
        while (mutant := mutate_code(source, operator, occurrence)) is not None:
            found.append((f"{name} {occurrence}", mutant))
            occurrence += 1
    return found


def change(source: str, mutant: str) -> str:
    """What a mutant changes, as a diff without context."""
    lines = list(difflib.unified_diff(source.split("\n"), mutant.split("\n"), n=0, lineterm=""))
    return "\n".join(lines[2:])


def outcome(folder: Path, tests: list[str], seconds: float) -> str:
    """Run tests in a fork: "survived", or what killed the mutant."""
    process = os.fork()
    if process == 0:
        os.setsid()
        os.chdir(folder)
        with open(folder / "output", "w") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
        code = 2
        try:
            import hypothesis
            import pytest

            hypothesis.settings.register_profile("fixed", derandomize=True, database=None)
            hypothesis.settings.load_profile("fixed")
            # in this process: the options of pyproject.toml are for several
            alone = ["-o", "addopts=--import-mode=importlib"]
            quiet = [*alone, "-x", "-q", "-p", "no:cacheprovider", "--assert=plain"]
            quiet += ["-W", "ignore::RuntimeWarning"]
            code = int(pytest.main([*quiet, *tests]))
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if (ended := os.waitpid(process, os.WNOHANG))[0]:
            return "killed" if ended[1] else "survived"
        time.sleep(0.02)
    os.killpg(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return "timeout"


def main() -> None:
    """Test mutants of one module, then show those that survived and the score."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("module", choices=TESTS)
    parser.add_argument("results", type=Path, help="JSON lines, one per mutant; appended to")
    parser.add_argument("--sample", type=int, default=10**6, help="mutants taken at random")
    parser.add_argument("--seconds", type=float, default=120.0, help="limit for one mutant")
    parser.add_argument("--again", choices=["survived", "killed"], help="only these of results")
    parser.add_argument("--compile", action="store_true", help="keep compilation on (slow)")
    parser.add_argument("--tests", nargs="+", help="instead of the module's own")
    given = parser.parse_args()

    if given.module in COMPILED and not given.compile:
        os.environ["NUMBA_DISABLE_JIT"] = "1"
    scratch = TemporaryDirectory()
    # machine code is kept for this run alone
    os.environ["NUMBA_CACHE_DIR"] = str(Path(scratch.name) / "cache")
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    for name in PRELOADED.split():
        importlib.import_module(name)
    source, tests = (ROOT / given.module).read_text(), given.tests or TESTS[given.module]
    every = mutants(source)
    shuffled = random.Random(0).sample(every, len(every))
    known = {}
    if given.results.exists():
        known = {(row := json.loads(line))["name"]: row for line in given.results.open()}
    if given.again:
        before = {name for name, row in known.items() if row["outcome"] == given.again}
        chosen = [entry for entry in shuffled if entry[0] in before][: given.sample]
    else:
        chosen = [entry for entry in shuffled[: given.sample] if entry[0] not in known]
    with scratch as name:
        folder = Path(name)
        for part in ("pmnbmix", "tests", "models"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / part, folder / part, ignore=ignored)
        for part in ("pyproject.toml", "README.md"):
            shutil.copy(ROOT / part, folder)
        sys.path.insert(0, name)
        for below in BELOW[given.module].split():
            importlib.import_module(below)
        if given.module not in COMPILED:
            # the first machine code that is loaded takes the longest
            params = importlib.import_module("pmnbmix.mixture.params")
            params.MixtureParams([1.0], [1.0], [1.0]).logpmf([0])
        if given.module[:-3].replace("/", ".") in sys.modules:
            raise SystemExit(f"{given.module} is imported before it is mutated: mend BELOW.")
        gc.freeze()
        if outcome(folder, tests, 600.0) != "survived":
            raise SystemExit((folder / "output").read_text()[-3000:])
        for name, mutant in chosen:
            shutil.rmtree((folder / given.module).parent / "__pycache__", ignore_errors=True)
            (folder / given.module).write_text(mutant)
            began = time.monotonic()
            row = {"name": name, "outcome": outcome(folder, tests, given.seconds)}
            row |= {"seconds": time.monotonic() - began, "change": change(source, mutant)}
            known[name] = row
            with given.results.open("a") as file:
                file.write(json.dumps(row) + "\n")
    rows = [known[name] for name, _ in every if name in known]
    survived = [row for row in rows if row["outcome"] == "survived"]
    for row in sorted(survived, key=lambda row: int(row["change"].split()[1].split(",")[0])):
        print(f"--- {row['name']}\n{row['change']}")
    score = 1 - len(survived) / len(rows)
    print(f"{given.module}: {len(every)} mutants, {len(rows)} tested, {score:.1%} killed")


if __name__ == "__main__":
    main()
