"""An OpenD stand-in that speaks the real wire: for trying things out, for demonstrations and for tests.

universe    what it knows: the broker's documented rows, and a seeded synthetic market
server      what it answers, within the sliding window that OpenD keeps
faults      what can go wrong, switched on from tests
chaos       faults without end
"""

from opend_si.simulator.faults import Fault
from opend_si.simulator.server import SeenRequest, Simulator
from opend_si.simulator.universe import Universe

__all__ = ["Fault", "SeenRequest", "Simulator", "Universe"]
