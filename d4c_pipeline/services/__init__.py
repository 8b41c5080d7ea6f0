"""What a deployment serves over HTTP: one ASGI application, a module per protocol. Today it serves files."""
