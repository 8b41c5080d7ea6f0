"""HTTP services of a deployment, a module per protocol: the file server, its limits, nginx's configuration."""
