"""How a question is answered: from the record, or from OpenD, by the rules of a mode.

blocking, aio    the two clients that the faces render on; they carry out steps
dropin           the documented surface, with return codes instead of exceptions
questions        what can be asked, of which files; arguments are checked here, before the first step
answers          how a question is answered by record and fetcher
standing         what of the record may answer: what is fresh enough, and of who is asked
claims           once a record: of those that want a page one fetches it
fetcher          the way to OpenD: a request in its slot of the rate budget, in time or not at all
steps            what has to be waited for
pagewalk         a symbol's pages, one after the other
sync             what a sync reports
watch/           what is news of a list, reported once: whom to ask, when, and what has not been reported
doctor           where a client stands; whether OpenD is there and fit for a call
"""
