"""The wire: `framing`, `ciphers` and `session` know bytes and no sockets; `blocking` moves them over TCP.

`keyfile` reads the RSA key for an encrypted link.
"""
