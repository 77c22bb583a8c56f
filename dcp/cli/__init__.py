"""The command line: one module per command, each with ``add_arguments`` and ``run``.

Results go to stdout, progress and errors to stderr. Heavy imports happen inside ``run``, so that
``--help`` answers at once.
"""
