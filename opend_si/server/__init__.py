"""OpenD's side of the wire: what a simulator and a gateway both stand on.

conversation    one client's link, without a socket: requests come out of bytes, bytes come out of replies
descriptors     how many clients the system lets a process have
listener        a TCP port for any number of clients, on asyncio
messages        messages of a WebSocket port: heads and the first request; no socket
peers           who is at the other end of a link, and whether it is still there
refusals        OpenD's own texts
state           what OpenD says of itself
websocket       a WebSocket port, which is a bridge to the TCP port beside it
"""
