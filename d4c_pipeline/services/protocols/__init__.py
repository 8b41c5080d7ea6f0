"""The protocols of `d4c serve`, a module each with a `PROTOCOL`; helpers of one protocol are packages beside it.

The interface is `services.protocol`.
"""
