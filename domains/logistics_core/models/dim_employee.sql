select employee_id, employee_name, role, warehouse_id, shift, hired_on
from logistics_core.employees
union all
select 'unknown', 'Unknown employee', 'unknown', 'unknown', 'unknown', date '1900-01-01'
