"""An OpenD in front of OpenD: pages come from the record, everything else passes through.

cutter      which bytes of a stream pass and which frames are taken out; no socket
policy      which protocols are taken, and what is said to those that are refused; no I/O
hello       InitConnect, read in passing
answers     a request for a page, and its reply's body
recent      replies that were given lately
links       one client, and its own link to OpenD
server      the port, the limits, the status

Laws, each held by a test in tests/gateway:
 1. What is not taken passes byte for byte and in order, at any chunking.
 2. A request that is taken never reaches OpenD as the client sent it; its serial and its format come back.
 3. A reply of the gateway stands between frames, never inside one.
 4. The reply to a request for a page is the bytes that OpenD would have sent.
 5. A page is fetched once, for however many clients and gateways of one record, within one budget.
 6. A taken request is answered before the client gives up: rows, or a refusal in OpenD's words.
 7. An attached link ends when OpenD's does; a detached one ends when OpenD is back.
 8. One client's slowness, garbage or death costs no other anything; memory for each client is bounded.
 9. No trade protocol passes unless that was asked for, and never from another machine unencrypted.
10. No text names a path or a key of this machine.
"""

DEFAULT_PORT = 11110
# Seconds; the published clients wait 12 s for a reply.
DEFAULT_PATIENCE = 10.0
# Each takes two descriptors: many systems give a process 1,024.
DEFAULT_MOST_CLIENTS = 200
