"""Mixtures of negative binomials: EM, MAP and NUTS side by side.

Names are loaded on first use, so that ``import pmnbmix`` and point estimates never wait for PyMC.
"""

import lazy_loader as _lazy

_load, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version(__name__)
    return _load(name)
