"""Cryptography behind a narrow door: the only package that imports ``cryptography``.

Everything here is a pure function of its arguments. What a peer sent and does not verify raises CryptoError;
what our own caller got wrong raises LocalError. No secret stands in a message or in a ``repr``.
"""
