"""How a question is answered: from the record, or from OpenD, by the rules of a mode.

blocking, aio    the two clients that the faces render on; they carry out steps
dropin           the documented surface, with return codes instead of exceptions
questions        what can be asked; arguments are checked here, before the first step
answers          how a question is answered by record and fetcher
freshness        when a recorded page is fresh
fetcher          how a page is fetched: once a machine, within the rate budget
steps            what has to be waited for
sync, status     what a sync reports; where a client stands
watch            when to look for news of a list, whom to ask, and what has not been reported
doctor           whether OpenD is there and fit for a call
"""
