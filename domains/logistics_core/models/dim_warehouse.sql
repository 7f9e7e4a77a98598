-- mesh.sites holds what each domain.yaml says of its site.
select warehouse_id, name as warehouse_name, domain, region, city, country, time_zone, currency, opened_on
from mesh.sites
union all
select 'unknown', 'Unknown warehouse', 'unknown', 'unknown', 'unknown', 'ZZ', 'Etc/UTC', 'XXX', date '1900-01-01'
