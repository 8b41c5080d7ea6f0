"""Files on a disk: atomic writes, disk errors, hashes, media types, unpacking. Every room may use this room."""
