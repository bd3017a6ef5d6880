"""Storage formats for image classification data, behind one batch-first PyTorch ``Dataset``.

What there is, ``__init__.pyi`` lists; each name is imported when it is first used, since torch takes seconds.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
