"""Talking HTTP: how often to try, how fast to ask, how to send and read, the same for every room that does.

Here belongs what is true of any server. What a status means to a source or an archive belongs to the room that speaks
to it.
"""
