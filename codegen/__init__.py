"""The build step: protos and bindings become `generated/`, `futu_si/` and `moomoo_si/`.

    compile (protoc)  ->  model (frozen dataclasses)  ->  render (Jinja, ruff)  ->  plan ({path: bytes})

Run it with ``python -m codegen``; ``python -m codegen --check`` compares the plan with the tree and writes
nothing. It needs the dependency group `codegen`. Nothing that is installed for users imports it.
"""
