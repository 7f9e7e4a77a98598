select cast(measured_at as date) as date, product, domain, region, team, state, lag_hours, promised_hours, table_rows,
    quarantined, held, dangling, predicted_by, accurate
from mesh.health
