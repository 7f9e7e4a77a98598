-- The east writes local time. In the hour that a clock passes twice, the envelope's time says which one it was.
select
    r.event_id,
    r.error_id,
    r.error_code,
    r.order_id,
    r.line_number,
    r.product_id,
    r.quantity,
    s.warehouse_id,
    r.message,
    case
        when timezone(s.time_zone, r.event_time) = r.error_time then r.event_time
        else timezone(s.time_zone, r.error_time)
    end as error_ts
from east_warehouse.order_errors_east__raw as r
inner join mesh.sites as s on s.domain = 'east_warehouse'
