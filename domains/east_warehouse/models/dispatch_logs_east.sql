-- The east writes local time. In the hour that a clock passes twice, the envelope's time says which one it was.
-- A promise for such an hour is read with the offset of the dispatch: nothing else in the event tells which it is.
select
    r.event_id,
    r.dispatch_id,
    r.trip_id,
    r.order_id,
    s.warehouse_id,
    r.vehicle_id,
    r.route_id,
    r.employee_id,
    r.package_count,
    r.weight_kg,
    case
        when timezone(s.time_zone, r.event_time + (r.promised_time - timezone(s.time_zone, r.event_time)))
            = r.promised_time
            then r.event_time + (r.promised_time - timezone(s.time_zone, r.event_time))
        else timezone(s.time_zone, r.promised_time)
    end as promised_ts,
    case
        when timezone(s.time_zone, r.event_time) = r.dispatch_time then r.event_time
        else timezone(s.time_zone, r.dispatch_time)
    end as dispatch_ts
from east_warehouse.dispatch_logs_east__raw as r
inner join mesh.sites as s on s.domain = 'east_warehouse'
