-- Each measure of a warehouse's day against what the same weekday had in the eight weeks before, at the level of the last
-- two: medians, so that an earlier anomaly moves nothing. Nothing later is read. On a scale of logarithms a weekday and a
-- season are sums. docs/decisions/0040-order-anomalies.md gives the reasons.
with priced as (
    select
        o.warehouse_id,
        o.order_date,
        o.order_id,
        o.quantity,
        case
            when p.list_price_usd > 0 and o.unit_price_usd >= 0
                then 100 * cast(o.unit_price_usd as double) / nullif(cast(p.list_price_usd as double), 0)
        end as price_percent
    from logistics_core.fact_orders as o
    left join logistics_core.dim_product as p on o.product_id = p.product_id
),
sold as (
    select
        warehouse_id,
        order_date,
        count(distinct order_id) as orders,
        max(quantity) as largest_line,
        min(price_percent) as lowest_price
    from priced
    group by warehouse_id, order_date
),
failed as (
    select warehouse_id, error_date, extract(hour from error_ts) as error_hour, count(*) as errors
    from logistics_core.fact_order_errors
    where source <> 'delivery'
    group by warehouse_id, error_date, extract(hour from error_ts)
),
worst_hour as (
    select warehouse_id, error_date, max(errors) as errors from failed group by warehouse_id, error_date
),
opened as (
    select warehouse_id, min(order_date) as first_date from sold group by warehouse_id
),
daily as (
    select
        w.warehouse_id,
        d.order_date,
        coalesce(s.orders, 0) as orders,
        coalesce(f.errors, 0) as errors,
        s.largest_line,
        s.lowest_price
    from opened as w
    inner join (select distinct order_date from sold) as d on d.order_date >= w.first_date
    left join sold as s on s.warehouse_id = w.warehouse_id and s.order_date = d.order_date
    left join worst_hour as f on f.warehouse_id = w.warehouse_id and f.error_date = d.order_date
),
observed as (
    select warehouse_id, order_date, 'orders' as measure, cast(orders as double) as observed from daily
    union all
    select warehouse_id, order_date, 'errors', cast(errors as double) from daily
    union all
    select warehouse_id, order_date, 'largest_line', cast(largest_line as double) from daily
    where largest_line is not null
    union all
    select warehouse_id, order_date, 'lowest_price', lowest_price from daily
    where lowest_price is not null
),
-- Each day is joined with each of its last days by its number. By a condition on a span of days, an engine would join
-- all days with all.
numbered as (
    select
        warehouse_id,
        order_date,
        measure,
        observed,
        date_diff('day', date '2000-01-01', order_date) as day_number
    from observed
),
weekly as (
    select
        n.warehouse_id,
        n.order_date,
        n.day_number,
        n.measure,
        n.observed,
        -- Of one such day nobody knows whether it was usual.
        case when count(b.observed) > 1 then median(ln(b.observed + 1)) end as usual
    from numbered as n
    cross join generate_series(1, 8) as past (weeks)
    left join numbered as b
        on b.warehouse_id = n.warehouse_id
        and b.measure = n.measure
        and b.day_number = n.day_number - 7 * past.weeks
    group by n.warehouse_id, n.order_date, n.day_number, n.measure, n.observed
),
levelled as (
    select
        n.warehouse_id,
        n.order_date,
        n.day_number,
        n.measure,
        n.observed,
        n.usual + coalesce(median(ln(b.observed + 1) - b.usual), 0) as usual
    from weekly as n
    cross join generate_series(1, 14) as past (days)
    left join weekly as b
        on b.warehouse_id = n.warehouse_id
        and b.measure = n.measure
        and b.day_number = n.day_number - past.days
    group by n.warehouse_id, n.order_date, n.day_number, n.measure, n.observed, n.usual
),
-- How far days are off: by the median of the last eight weeks as a standard deviation, and at least by what chance does
-- to counts and common causes to all.
spread as (
    select
        n.warehouse_id,
        n.order_date,
        n.measure,
        n.observed,
        n.usual,
        ln(n.observed + 1) - n.usual as off,
        greatest(
            1.4826 * coalesce(median(abs(ln(b.observed + 1) - b.usual)), 0),
            case when n.measure in ('orders', 'errors') then sqrt(0.0025 + exp(-n.usual)) else 0.11 end
        ) as scatter
    from levelled as n
    cross join generate_series(1, 56) as past (days)
    left join levelled as b
        on b.warehouse_id = n.warehouse_id
        and b.measure = n.measure
        and b.day_number = n.day_number - past.days
    group by n.warehouse_id, n.order_date, n.measure, n.observed, n.usual
),
scored as (
    -- Sail fears a zero even where there is none.
    select warehouse_id, order_date, measure, observed, usual, off / nullif(scatter, 0) as score from spread
)
select
    warehouse_id,
    order_date,
    measure,
    round(observed, 2) as observed,
    round(exp(usual) - 1, 2) as expected,
    round(score, 2) as score,
    coalesce(
        case measure
            -- The last day may not be over.
            when 'orders' then score >= 3 or (score <= -3 and order_date < max(order_date) over ())
            when 'lowest_price' then score <= -3
            else score >= 3
        end,
        false
    ) as is_anomaly
from scored
