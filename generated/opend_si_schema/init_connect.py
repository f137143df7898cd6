# Rendered by codegen from templates/schema/%proto.py.j2. Do not edit: change the template, then run "python -m codegen".
"""Protocol 1001: the first request of every connection. Written out from the documented interface:
https://openapi.futunn.com/futu-api-doc/en/

Classes of `InitConnect.proto`; the stub beside this module has their fields.
"""

from opend_si_schema._pool import message_class

C2S = message_class("InitConnect.C2S")
S2C = message_class("InitConnect.S2C")
Request = message_class("InitConnect.Request")
Response = message_class("InitConnect.Response")
