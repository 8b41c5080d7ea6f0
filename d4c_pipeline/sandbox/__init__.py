"""Work on foreign bytes in a process of its own, with limits and without credentials: a crash costs one step.

`call` is what a run uses; it talks to a `server`, which starts each piece of work as a fork of itself (`inside`) and
watches its time and memory. What the work is belongs to the caller; what such a process may reach is set in `reach`.
"""
