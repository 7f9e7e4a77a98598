from .orders import lines, send, waiting
from .invariants import violations


def test_x(state, mesh):
    c = send(state, mesh, lines(range(10)))
    assert not violations(state.folder, "south_warehouse.orders_south", c)
    assert waiting(state) == 10
