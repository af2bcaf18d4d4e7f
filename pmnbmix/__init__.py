"""Mixtures of negative binomials: EM, MAP and NUTS side by side.

Names are loaded on first use, so that ``import pmnbmix`` and point estimates never wait for PyMC.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
