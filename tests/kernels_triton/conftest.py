"""The interpreter must be asked for before triton is first imported, and the worker that collects
this folder may have imported it long ago. So `interpreted/` is collected only in processes that
were started with TRITON_INTERPRET=1, and `test_interpreter.py` starts one for each of its files."""

import os

collect_ignore_glob = [] if os.environ.get("TRITON_INTERPRET") == "1" else ["interpreted/*"]
