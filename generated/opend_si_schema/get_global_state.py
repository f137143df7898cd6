# Rendered by codegen from templates/schema/%proto.py.j2. Do not edit: change the template, then run "python -m codegen".
"""Protocol 1002: how OpenD is doing. Written out from the documented interface:
https://openapi.futunn.com/futu-api-doc/en/

Classes of `GetGlobalState.proto`; the stub beside this module has their fields.
"""

from opend_si_schema._pool import message_class

C2S = message_class("GetGlobalState.C2S")
S2C = message_class("GetGlobalState.S2C")
Request = message_class("GetGlobalState.Request")
Response = message_class("GetGlobalState.Response")
