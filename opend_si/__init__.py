"""The engine behind `futu_si` and `moomoo_si`: hand-written, brand-neutral, shared by both.

    symbols, dates, errors, refusals, settings    values without I/O
    replies, pages, tables                        a reply's bytes, a page of rows, and its way into records and DataFrames
    ledger                                        what the recorded pages of a symbol say together, and what can be trusted
    planner                                       which pages answer a question, and which must be fetched; no I/O
    wire                                          framing, encryption and the conversation with OpenD; both connections
    cache                                         the page store and the rate budget
    steps, fetcher, shelf, source, questions      a question's way through record, budget and wire, as steps
    client, aio, dropin, sync, status, kinds      what the faces render on: they carry the steps out
    arrow, batch, panel, export, screen           many symbols at once, from the record
    changes, chart                                what is made of a history or a panel
    doctor                                        whether OpenD is fit
    simulator                                     an OpenD stand-in that speaks the real wire, and what can go wrong on it
    cli                                           the console, given a brand
    files, locks, log, notices, clock             what several of these need

Import the faces, not this package: its names may change in any release.
"""

__version__ = "0.1.0"
