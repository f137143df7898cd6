# The sample of Futu's page on get_short_interest, as it stands there behind its first line: `from futu import *`.
# Source: https://openapi.futunn.com/futu-api-doc/en/quote/get-short-interest.html
from futu_si import *
quote_ctx = OpenQuoteContext(host='127.0.0.1', port=11111)
ret, us_df, hk_df = quote_ctx.get_short_interest("HK.00700")
if ret == RET_OK:
    print(hk_df)
else:
    print('error:', hk_df)
quote_ctx.close()
