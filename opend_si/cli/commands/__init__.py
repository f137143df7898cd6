"""The commands.

pages       get, history, revisions
sync        sync, with its progress
news        changes
watch       watch
research    plot, screen, export
verify      verify, check
cache       cache path, info, verify, prune, export
opend       doctor, simulate, demo
gateway     gateway
mcp         mcp: tools for a language model
"""
