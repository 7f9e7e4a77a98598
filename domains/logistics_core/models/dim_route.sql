-- The network says what a route is when it opens; each update after that which changes something makes a version.
with updates as (
    -- Of updates at one instant the last by event id counts, so that no version is empty.
    select
        route_id,
        effective_ts,
        distance_km,
        promised_hours,
        road_class,
        status,
        row_number() over (partition by route_id, effective_ts order by event_id desc) as place
    from logistics_core.routes
    -- The member below has this key.
    where route_id <> 'unknown'
),
starts as (
    select
        route_id, distance_km, promised_hours, road_class, timezone('UTC', cast(opened_on as timestamp)) as started
    from logistics_core.route_network
),
states as (
    select route_id, distance_km, promised_hours, road_class, 'open' as status, started as valid_from
    from starts
    union all
    select u.route_id, u.distance_km, u.promised_hours, u.road_class, u.status, u.effective_ts
    from updates as u
    left join starts as s on s.route_id = u.route_id
    where u.place = 1 and (s.started is null or u.effective_ts > s.started)
),
compared as (
    select
        route_id,
        distance_km,
        promised_hours,
        road_class,
        status,
        valid_from,
        lag(distance_km) over w as distance_before,
        lag(promised_hours) over w as hours_before,
        lag(road_class) over w as class_before,
        lag(status) over w as status_before
    from states
    window w as (partition by route_id order by valid_from)
),
versions as (
    select
        route_id,
        distance_km,
        promised_hours,
        road_class,
        status,
        valid_from,
        row_number() over w as version,
        lead(valid_from) over w as next_from
    from compared
    -- The first state has none before it.
    where distance_km is distinct from distance_before
        or promised_hours is distinct from hours_before
        or road_class is distinct from class_before
        or status is distinct from status_before
    window w as (partition by route_id order by valid_from)
)
select
    v.route_id,
    cast(v.version as integer) as version,
    coalesce(n.warehouse_id, 'unknown') as warehouse_id,
    coalesce(n.destination, 'unknown') as destination,
    v.distance_km,
    v.promised_hours,
    v.road_class,
    v.status,
    v.valid_from,
    coalesce(v.next_from, timestamptz '9999-12-31 00:00:00+00') as valid_to,
    v.next_from is null as is_current
from versions as v
left join logistics_core.route_network as n on n.route_id = v.route_id
union all
select
    'unknown', 1, 'unknown', 'unknown', null, null, 'unknown', 'unknown',
    timestamptz '1900-01-01 00:00:00+00', timestamptz '9999-12-31 00:00:00+00', true
