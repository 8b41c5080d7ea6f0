"""Stores keep and serve files, behind one port. A folder and an S3 bucket implement the port.

Which store holds which release belongs to `workspace` and `chain`.
"""
