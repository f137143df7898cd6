"""The wire: `framing` and `session` know bytes and no sockets; `blocking` moves them over TCP."""
