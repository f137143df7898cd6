"""The wire: `framing`, `ciphers` and `session` know bytes and no sockets; `blocking` and `aio` move them over TCP.

`link` is what both have in common, `keyfile` reads the RSA key for an encrypted link.
"""
