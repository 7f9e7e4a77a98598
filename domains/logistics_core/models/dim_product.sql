select product_id, product_name, category, subcategory, brand, list_price_usd, unit_weight_kg, launched_on
from logistics_core.products
union all
select 'unknown', 'Unknown product', 'Unknown', 'Unknown', 'Unknown', null, null, date '1900-01-01'
