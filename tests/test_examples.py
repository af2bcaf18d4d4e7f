"""The examples in the docstrings of public names run, and print what they show."""

import doctest
import functools
import inspect
import re

import matplotlib.pyplot as plt
import pytest
import xarray as xr

import pmnbmix as nb

FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def public_things():
    """Every public name with the function or class that it stands for."""
    for name in nb.__all__:
        thing = getattr(nb, name)
        if inspect.ismodule(thing):
            yield from ((f"{name}.{inner}", getattr(thing, inner)) for inner in thing.__all__)
        else:
            yield name, thing


def methods(thing):
    """Public methods that a class defines itself."""
    if not inspect.isclass(thing):
        return []
    return [name for name in vars(thing) if name[0] != "_" and callable(getattr(thing, name))]


THINGS = dict(public_things())


@pytest.fixture(scope="module")
def results():
    """What examples have sampled so far, so that those that need the same posterior share it."""
    return {}


def shared(results, function):
    """The function, which returns the result of an equal call if there was one."""

    @functools.wraps(function)
    def call(counts, *arguments, **options):
        key = (function.__name__, counts.digest, repr(arguments), repr(options))
        if key not in results:
            results[key] = function(counts, *arguments, **options)
        found = results[key]
        # a caller may add groups to a tree
        return found.copy() if isinstance(found, xr.DataTree) else found

    return call


@pytest.mark.parametrize("name", sorted(THINGS))
def test_examples_print_what_they_show(name, results, tmp_path, monkeypatch):
    thing = THINGS[name]
    docstrings = {name: inspect.getdoc(thing) or ""}
    for method in methods(thing):
        docstrings[f"{name}.{method}"] = inspect.getdoc(getattr(thing, method)) or ""
    _, _, examples = docstrings[name].partition("\nExamples\n--------\n")
    assert ">>> import pmnbmix as nb" in examples
    code = re.findall(r"^(?:>>>|\.\.\.) (.*)$", "\n".join(docstrings.values()), re.MULTILINE)
    for method in methods(thing):
        assert any(f".{method}(" in line for line in code), f"{method} is never shown"
    # examples write their files where they run
    monkeypatch.chdir(tmp_path)
    for function in (nb.sample, nb.choose_components):
        monkeypatch.setattr(nb, function.__name__, shared(results, function))
    said = []
    for title, text in docstrings.items():
        test = doctest.DocTestParser().get_doctest(text, {}, title, None, 0)
        doctest.DocTestRunner(optionflags=FLAGS).run(test, out=said.append)
    plt.close("all")
    assert not said, "".join(said)
