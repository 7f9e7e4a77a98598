-- The file says what a vehicle is when it comes into service; each report after that which differs makes a version.
with reports as (
    -- Of reports at one instant the last by event id counts, so that no version is empty.
    select
        vehicle_id,
        tracked_ts,
        warehouse_id,
        home_route_id,
        condition,
        row_number() over (partition by vehicle_id, tracked_ts order by event_id desc) as place
    from logistics_core.vehicle_tracking
    -- The member below has this key.
    where vehicle_id <> 'unknown'
),
starts as (
    select vehicle_id, warehouse_id, home_route_id, timezone('UTC', cast(in_service_on as timestamp)) as started
    from logistics_core.vehicles
),
states as (
    select vehicle_id, warehouse_id, home_route_id, 'normal' as condition, started as valid_from
    from starts
    union all
    select r.vehicle_id, r.warehouse_id, r.home_route_id, r.condition, r.tracked_ts
    from reports as r
    left join starts as s on s.vehicle_id = r.vehicle_id
    where r.place = 1 and (s.started is null or r.tracked_ts > s.started)
),
compared as (
    select
        vehicle_id,
        first_value(warehouse_id) over w as warehouse_id,
        home_route_id,
        condition,
        valid_from,
        lag(home_route_id) over w as home_route_before,
        lag(condition) over w as condition_before
    from states
    window w as (partition by vehicle_id order by valid_from)
),
versions as (
    select
        vehicle_id,
        warehouse_id,
        home_route_id,
        condition,
        valid_from,
        row_number() over w as version,
        lead(valid_from) over w as next_from
    from compared
    -- The first state has none before it.
    where home_route_id is distinct from home_route_before or condition is distinct from condition_before
    window w as (partition by vehicle_id order by valid_from)
)
select
    v.vehicle_id,
    cast(v.version as integer) as version,
    coalesce(f.vehicle_type, 'unknown') as vehicle_type,
    f.capacity_kg,
    f.max_speed_kmh,
    v.warehouse_id,
    v.home_route_id,
    v.condition,
    v.valid_from,
    coalesce(v.next_from, timestamptz '9999-12-31 00:00:00+00') as valid_to,
    v.next_from is null as is_current
from versions as v
left join logistics_core.vehicles as f on f.vehicle_id = v.vehicle_id
union all
select
    'unknown', 1, 'unknown', null, null, 'unknown', 'unknown', 'unknown',
    timestamptz '1900-01-01 00:00:00+00', timestamptz '9999-12-31 00:00:00+00', true
