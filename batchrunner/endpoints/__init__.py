"""Wire formats, sans-I/O: a body becomes an ``HttpCall``, an ``HttpReply`` becomes a ``Reply`` or a ``Failure``."""
