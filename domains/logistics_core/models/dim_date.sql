-- The fiscal year begins on 1 February: a day's fiscal date is the day one month earlier.
with days as (
    select cast(day as date) as date, cast(day - interval 1 month as date) as fiscal
    from generate_series(timestamp '1990-01-01', timestamp '2049-12-31', interval 1 day) as series (day)
)
select
    date,
    cast(year(date) as integer) as year,
    cast(quarter(date) as integer) as quarter,
    cast(month(date) as integer) as month,
    monthname(date) as month_name,
    cast(day(date) as integer) as day_of_month,
    cast(isodow(date) as integer) as day_of_week,
    dayname(date) as day_name,
    isodow(date) >= 6 as is_weekend,
    cast(isoyear(date) as integer) as iso_year,
    cast(week(date) as integer) as iso_week,
    cast(year(fiscal) as integer) as fiscal_year,
    cast(quarter(fiscal) as integer) as fiscal_quarter,
    cast(month(fiscal) as integer) as fiscal_month
from days
