"""How a question is answered: from the record, or from OpenD, by the rules of a mode.

blocking, aio    the two clients that the faces render on; they carry out steps
dropin           the documented surface, with return codes instead of exceptions
questions        what can be asked; arguments are checked here, before the first step
answers          how a question is answered by record and fetcher
freshness        when a recorded page is fresh
claims           once a machine: of those that want a page one fetches it
fetcher          the way to OpenD: a request in its slot of the rate budget, in time or not at all
steps            what has to be waited for
sync, status     what a sync reports; where a client stands
watch            when to look for news of a list, whom to ask, and what has not been reported
doctor           whether OpenD is there and fit for a call
"""
