-- An event that came twice under two ids must not multiply the dispatches of its trip.
with departed as (
    select
        trip_id,
        weather,
        load_kg,
        row_number() over (partition by trip_id order by tracked_ts, event_id) as place
    from logistics_core.fact_vehicle_routes
    where activity = 'departed'
),
delivered as (
    select
        dispatch_id,
        sla_met,
        row_number() over (partition by dispatch_id order by delivered_ts, event_id) as place
    from logistics_core.fact_delivery_sla
),
trips as (
    select trip_id, count(*) as orders
    from logistics_core.fact_dispatch_logs
    group by trip_id
),
vehicles as (
    select vehicle_id, vehicle_type, capacity_kg
    from logistics_core.dim_vehicle
    where is_current
)
select
    d.event_id,
    d.dispatch_id,
    d.order_id,
    d.warehouse_id,
    d.vehicle_id,
    d.route_id,
    d.dispatch_ts,
    d.promised_ts,
    d.weight_kg,
    t.orders,
    r.load_kg,
    v.capacity_kg,
    v.vehicle_type,
    r.weather,
    not a.sla_met as is_late
from logistics_core.fact_dispatch_logs as d
inner join departed as r on r.trip_id = d.trip_id and r.place = 1
inner join trips as t on t.trip_id = d.trip_id
left join vehicles as v on v.vehicle_id = d.vehicle_id
left join delivered as a on a.dispatch_id = d.dispatch_id and a.place = 1
