# Rendered by codegen from templates/schema/%proto.py.j2. Do not edit: change the template, then run "python -m codegen".
"""Protocol 3248: daily short-sale volume of one security, a page at a time. Written out from the interface of the
published clients 10.11.7108.

Classes of `Qot_GetDailyShortVolume.proto`; the stub beside this module has their fields.
"""

from opend_si_schema._pool import message_class

C2S = message_class("Qot_GetDailyShortVolume.C2S")
UsDailyShortVolumeItem = message_class("Qot_GetDailyShortVolume.UsDailyShortVolumeItem")
HkDailyShortVolumeItem = message_class("Qot_GetDailyShortVolume.HkDailyShortVolumeItem")
S2C = message_class("Qot_GetDailyShortVolume.S2C")
Request = message_class("Qot_GetDailyShortVolume.Request")
Response = message_class("Qot_GetDailyShortVolume.Response")
