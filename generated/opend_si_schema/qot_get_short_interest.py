# Rendered by codegen from templates/schema/%proto.py.j2. Do not edit: change the template, then run "python -m codegen".
"""Protocol 3249: short-interest history of one security, a page at a time. Written out from the documented
interface: https://openapi.futunn.com/futu-api-doc/en/quote/get-short-interest.html

Classes of `Qot_GetShortInterest.proto`; the stub beside this module has their fields.
"""

from opend_si_schema._pool import message_class

C2S = message_class("Qot_GetShortInterest.C2S")
UsShortInterestItem = message_class("Qot_GetShortInterest.UsShortInterestItem")
HkShortInterestItem = message_class("Qot_GetShortInterest.HkShortInterestItem")
S2C = message_class("Qot_GetShortInterest.S2C")
Request = message_class("Qot_GetShortInterest.Request")
Response = message_class("Qot_GetShortInterest.Response")
