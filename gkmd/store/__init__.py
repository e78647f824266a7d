"""The journal of the key server: what was decided survives a crash, and is sealed where it lies."""
