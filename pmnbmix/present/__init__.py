"""What people touch: figures, run folders and the command line."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach(__name__, submodules=["plots"])
