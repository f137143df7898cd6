"""OpenD's side of the wire: what a simulator and a gateway both stand on.

conversation    one client's link, without a socket: requests come out of bytes, bytes come out of replies
listener        a TCP port for any number of clients, on asyncio
refusals        OpenD's own texts
state           what OpenD says of itself
"""
