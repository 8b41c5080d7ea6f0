"""Torrent files, their pieces and web seeds, the seeder and the DHT pointer.

Which releases are seeded belongs to `upkeep`.
"""
