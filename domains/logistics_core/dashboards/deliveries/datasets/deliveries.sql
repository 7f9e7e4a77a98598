select s.delivered_date as date, w.region, coalesce(v.vehicle_type, 'unknown') as vehicle_type, s.weather,
    coalesce(r.destination, 'unknown') as destination, s.sla_met, s.delay_minutes
from logistics_core.fact_delivery_sla__resolved s
join logistics_core.dim_warehouse w using (warehouse_id)
left join logistics_core.dim_vehicle v on v.vehicle_id = s.vehicle_id and v.is_current
left join logistics_core.dim_route r on r.route_id = s.route_id and r.is_current
