# Rendered by codegen from templates/schema/__init__.py.j2. Do not edit: change the template, then run "python -m codegen".
"""Messages, records and column tables of the OpenD calls that are bound, as the protos and the bindings state them.

Message classes stand in one module a proto file: `common`, `qot_common`, `get_global_state`, `init_connect`,
`init_web_socket`, `keep_alive`, `qot_get_daily_short_volume`, `qot_get_short_interest`.

`calls` describes each call (protocol id, page size, rate, tables), `records` holds the row classes, `definitions` the
classes that descriptions are made of, `calendars` holidays that no rule computes. Nothing here does I/O but reading `descriptors.binpb` once.
"""
