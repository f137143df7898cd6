# Rendered by codegen from templates/schema/%proto.py.j2. Do not edit: change the template, then run "python -m codegen".
"""Protocol 1004: keeps an idle connection open. Written out from the documented interface:
https://openapi.futunn.com/futu-api-doc/en/

Classes of `KeepAlive.proto`; the stub beside this module has their fields.
"""

from opend_si_schema._pool import message_class

C2S = message_class("KeepAlive.C2S")
S2C = message_class("KeepAlive.S2C")
Request = message_class("KeepAlive.Request")
Response = message_class("KeepAlive.Response")
