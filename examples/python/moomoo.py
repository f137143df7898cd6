# The sample of moomoo's page on get_short_interest, as it stands there behind its first line: `from moomoo import *`.
# Source: https://openapi.moomoo.com/moomoo-api-doc/en/quote/get-short-interest.html
from moomoo_si import *
quote_ctx = OpenQuoteContext(host='127.0.0.1', port=11111)
ret, us_df, hk_df = quote_ctx.get_short_interest("HK.00700")
if ret == RET_OK:
    print(hk_df)
else:
    print('error:', hk_df)
quote_ctx.close()
