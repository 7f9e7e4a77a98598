-- A day without a movement has what the day before had: each day with one stands until the next such day.
with moved as (
    select
        product_id,
        warehouse_id,
        movement_date,
        sum(quantity_change) as change,
        sum(case when movement_type = 'restock' then quantity_change else 0 end) as received,
        sum(case when movement_type = 'pick' then -quantity_change else 0 end) as picked
    from logistics_core.fact_inventory_movements
    group by product_id, warehouse_id, movement_date
),
standing as (
    select
        product_id,
        warehouse_id,
        movement_date,
        change,
        received,
        picked,
        sum(change) over shelf as available,
        coalesce(lead(movement_date) over shelf, max(movement_date) over () + 1) as until_date
    from moved
    window shelf as (partition by product_id, warehouse_id order by movement_date)
)
select
    s.product_id,
    s.warehouse_id,
    d.date,
    cast(s.available as bigint) as inventory_available,
    cast(case when d.date = s.movement_date then s.received else 0 end as bigint) as received,
    cast(case when d.date = s.movement_date then s.picked else 0 end as bigint) as picked,
    cast(case when d.date = s.movement_date then s.change - s.received + s.picked else 0 end as bigint) as adjusted
from standing as s
inner join logistics_core.dim_date as d on d.date >= s.movement_date and d.date < s.until_date
