"""The `d4c` command: a module for each group of commands, their progress, and the demo.

The commands call the rooms below; rules about data belong to those rooms.
"""
