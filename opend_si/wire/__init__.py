"""The client's side of OpenD's protocol. `framing`, `ciphers` and `session` know bytes and no sockets.

framing          frames: bytes in, frames out
ciphers          how bodies are encrypted
session          one conversation: what to send, and which reply belongs to which request
dial             a TCP connection: names, addresses, one deadline
turns            threads that share a link
blocking, aio    the connections that move the bytes over TCP
errors           how a link ends, and why one does not begin
keyfile          the RSA key of an encrypted link
log              one line a request
"""
