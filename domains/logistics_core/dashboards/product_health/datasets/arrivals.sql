select date, region, product, events
from mesh.arrivals
