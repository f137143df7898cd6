"""The engine behind `futu_si` and `moomoo_si`: hand-written, brand-neutral, shared by both.

    symbols, dates, errors, refusals, settings    values without I/O
    tables, pages                                 a page of rows, and its way into records and DataFrames
    planner                                       which pages answer a question, and which must be fetched; no I/O
    wire                                          the framing and the conversation with OpenD; the blocking connection
    cache                                         the page store and the rate budget
    steps, fetcher, shelf, source                 a question's way through record, budget and wire, as steps
    client, dropin, sync                          what the faces render on
    doctor                                        whether OpenD is fit
    simulator                                     an OpenD stand-in that speaks the real wire
    cli                                           the console, given a brand

Import the faces, not this package: its names may change in any release.
"""

__version__ = "0.1.0"
