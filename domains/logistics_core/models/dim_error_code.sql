select error_code, error_name, category, severity, description, owner_team
from logistics_core.error_codes
union all
select 'unknown', 'unknown', 'unknown', 'unknown', 'A code that error_codes lacks.', 'unknown'
