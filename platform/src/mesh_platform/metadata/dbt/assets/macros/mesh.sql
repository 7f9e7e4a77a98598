{# Written by `mesh dbt export`, which replaces this file. #}

{# Tables have the names that they have in the mesh: <domain>.<table>. #}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ (custom_schema_name or target.schema) | trim }}
{%- endmacro %}

{# Each of `columns` has a value. #}
{% test mesh_required(model, columns) %}
select *
from {{ model }}
where {% for column in columns %}{{ " or " if not loop.first }}{{ adapter.quote(column) }} is null{% endfor %}

{% endtest %}

{# No two rows have the same `columns`. #}
{% test mesh_unique(model, columns) %}
{%- set listed = [] %}
{%- for column in columns %}{% do listed.append(adapter.quote(column)) %}{% endfor %}
{%- set listed = listed | join(", ") %}
select {{ listed }}, count(*) as times
from {{ model }}
group by {{ listed }}
having count(*) > 1
{% endtest %}

{# No row meets `condition`. #}
{% test mesh_rows(model, condition) %}
select * from {{ model }} where {{ condition }}
{% endtest %}

{# The number that `query` gives for the rows of `mesh_object` meets the condition `must`. Without a number the condition
   is NULL, which fails nothing; NaN and infinities meet none. #}
{% test mesh_number(model, query, must) %}
with mesh_object as (select * from {{ model }})
select number
from (select {{ query }} as number) as found
where not (isfinite(cast(number as double)) and {{ must }})
{% endtest %}

{# The age of a source is that of its newest time in `filter`. If all its times are later, it is stale; if it has none,
   nothing is late. MESH_CLOCK sets the time that counts as now, as for `mesh status`. #}
{% macro duckdb__collect_freshness(source, loaded_at_field, filter) %}
    {%- set clock = env_var("MESH_CLOCK", "") %}
    {%- set now = "cast('" ~ clock ~ "' as timestamptz)" if clock else "now()" %}
    {%- set counted = (filter or "true") | replace("now()", now) %}
    {%- call statement("collect_freshness", fetch_result=True, auto_begin=False) %}
    select
        coalesce(
            max({{ loaded_at_field }}) filter (where {{ counted }}),
            case when count({{ loaded_at_field }}) > 0 then timestamptz 'epoch' else {{ now }} end
        ) as max_loaded_at,
        {{ now }} as snapshotted_at
    from {{ source }}
    {%- endcall %}
    {{ return(load_result("collect_freshness")) }}
{% endmacro %}
