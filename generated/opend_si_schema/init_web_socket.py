# Rendered by codegen from templates/schema/%proto.py.j2. Do not edit: change the template, then run "python -m codegen".
"""Message 1 of the WebSocket port: the first of every connection. The port's numbers, not OpenD's protocols. Written
out from the documented interface: https://openapi.futunn.com/futu-api-doc/en/

Classes of `InitWebSocket.proto`; the stub beside this module has their fields.
"""

from opend_si_schema._pool import message_class

C2S = message_class("InitWebSocket.C2S")
S2C = message_class("InitWebSocket.S2C")
Request = message_class("InitWebSocket.Request")
Response = message_class("InitWebSocket.Response")
