"""Octets to typed messages and back: IKEv2 (RFC 7296) and G-IKEv2 (RFC 9838).

Knows nothing of keys, time or sockets.
"""
