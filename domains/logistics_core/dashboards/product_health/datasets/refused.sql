select date, region, product, reason, coalesce(field, '-') as field, events
from mesh.refused
