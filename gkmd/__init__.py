"""gkmd: group key management for secure IP multicast on Linux (G-IKEv2, RFC 9838)."""

__version__ = "0.1.0"
