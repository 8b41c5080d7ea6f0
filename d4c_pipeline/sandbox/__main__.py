"""The server as a program, started by `call`; its standard input is the socket to the run, or `--fork` to several."""

import sys

from d4c_pipeline.sandbox.fork_server import fork_servers
from d4c_pipeline.sandbox.server import serve

if "--fork" in sys.argv:
    fork_servers()
else:
    serve()
