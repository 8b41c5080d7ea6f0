"""HTTP for all rooms: retries, pace, clients, requests to JSON services.

Only rules that hold for every server belong here. The meaning of a status for a source or an archive belongs to that
room.
"""
