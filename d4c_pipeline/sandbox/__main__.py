"""The server as a program, started by `call`; its standard input is the socket to the run."""

from d4c_pipeline.sandbox.server import serve

serve()
