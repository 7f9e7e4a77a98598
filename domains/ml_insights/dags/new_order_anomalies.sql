-- The anomalies of the last three days, of which ml_insights__anomalies tells. Earlier ones are history, also for whoever
-- builds the table for the first time.
select
    concat_ws(' ', a.warehouse_id, a.order_date, a.measure) as id,
    s.domain,
    concat(
        a.warehouse_id, ' on ', a.order_date, ': ',
        case a.measure
            when 'orders' then concat(cast(a.observed as bigint), ' orders')
            when 'errors' then concat(cast(a.observed as bigint), ' errors within an hour')
            when 'largest_line' then concat(cast(a.observed as bigint), ' units in one order line')
            else concat(a.observed, ' % of the list price paid')
        end,
        '; usual is ', round(a.expected, 1), '. Look at the rows of that day in logistics_core.',
        case when a.measure = 'errors' then 'fact_order_errors.' else 'fact_orders.' end
    ) as message
from ml_insights.fact_order_anomalies as a
inner join mesh.sites as s on s.warehouse_id = a.warehouse_id
where a.is_anomaly and a.order_date > (select max(order_date) from ml_insights.fact_order_anomalies) - 3
order by a.order_date, id
