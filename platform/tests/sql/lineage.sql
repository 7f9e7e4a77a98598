-- a renamed column, and one with a case of its own
select id as number, "X" as x from n.t;
-- number: t.id copied
-- x: t.x copied

-- a star over a CTE that renames
with c as (select id as k, x as v from n.t) select * from c;
-- k: t.id copied
-- v: t.x copied

-- a star with columns left out, replaced and renamed
select * exclude (s, l, ts) replace (x + 1 as x) rename (id as key) from n.t;
-- key: t.id copied
-- x: t.x computed
-- label: t.label copied

-- columns chosen by a pattern
select columns('^(id|x)$') from n.t;
-- id: t.id copied
-- x: t.x copied

-- an alias used by the next column
select x as k, k + 1 as more from n.t;
-- k: t.x copied
-- more: t.x computed

-- an alias with the name of a column: the column wins
select x as id, id + 1 as more from n.t;
-- id: t.x copied
-- more: t.id computed

-- USING keeps the key of the left table
select * from (select id, x from n.t) join (select id, y from n.u) using (id);
-- id: t.id copied
-- x: t.x copied
-- y: u.y copied
-- rows: t.id joined, u.id joined

-- USING in a full join takes the key of either table
select id, x, y from n.t full join n.u using (id);
-- id: t.id computed, u.id computed
-- x: t.x copied
-- y: u.y copied
-- rows: t.id joined, u.id joined

-- a natural join
select * from (select id, x from n.t) natural join (select id, y from n.u);
-- id: t.id copied
-- x: t.x copied
-- y: u.y copied
-- rows: t.id joined, u.id joined

-- a join whose condition is no equality
select t.x, u.y from n.t as t left join n.u as u on t.id = u.id and (u.y > 1 or t.x < u.y);
-- x: t.x copied
-- y: u.y copied
-- rows: t.id joined, t.x joined, u.id joined, u.y joined

-- a left join against rows that are missing
select t.x from n.t as t left join n.u as u on u.id = t.id where u.id is null;
-- x: t.x copied
-- rows: t.id joined, u.id filtered, u.id joined

-- the latest row at or before another
select t.x, u.y from n.t as t asof join n.u as u on t.id = u.id and t.ts >= u.ts;
-- x: t.x copied
-- y: u.y copied
-- rows: t.id joined, t.ts joined, u.id joined, u.ts joined

-- rows side by side
select x, y from n.t positional join n.u;
-- x: t.x copied
-- y: u.y copied

-- every pair of rows
select x, y from n.t, n.u;
-- x: t.x copied
-- y: u.y copied

-- rows that have a match
select x from n.t semi join n.u using (id);
-- x: t.x copied
-- rows: t.id joined, u.id joined

-- rows that have none
select x from n.t anti join n.u using (id);
-- x: t.x copied
-- rows: t.id joined, u.id joined

-- UNION ALL goes by place
select id, x from n.t union all select y, id from n.u;
-- id: t.id copied, u.y copied
-- x: t.x copied, u.id copied

-- UNION ALL BY NAME goes by name
select id, x from n.t union all by name select y as x, id from n.u;
-- id: t.id copied, u.id copied
-- x: t.x copied, u.y copied

-- UNION ALL BY NAME of tables with different columns
select id, x from n.t union all by name select id, y from n.u;
-- id: t.id copied, u.id copied
-- x: t.x copied
-- y: u.y copied

-- UNION keeps each row once
select id from n.t union select id from n.u;
-- id: t.id copied, u.id copied
-- rows: t.id grouped, u.id grouped

-- EXCEPT returns rows of its left side
select id, x from n.t except select id, y from n.u;
-- id: t.id copied
-- x: t.x copied
-- rows: t.id filtered, t.id grouped, t.x filtered, t.x grouped, u.id filtered, u.y filtered

-- INTERSECT ALL, too
select x from n.t intersect all select y from n.u;
-- x: t.x copied
-- rows: t.x filtered, u.y filtered

-- groups
select id, sum(x) as total, count(*) as n from n.t group by id;
-- id: t.id copied
-- total: t.x computed
-- n:
-- rows: t.id grouped

-- groups by place, with a condition on the result
select id, max(x) as top from n.t group by 1 having count(label) > 1;
-- id: t.id copied
-- top: t.x computed
-- rows: t.id grouped, t.label filtered

-- GROUP BY ALL with an aggregate that has its own filter
select id, sum(x) filter (where label = 'a') as total from n.t group by all;
-- id: t.id copied
-- total: t.label computed, t.x computed
-- rows: t.id grouped

-- one row for the whole table
select sum(x) as total from n.t where label <> 'a';
-- total: t.label filtered, t.x computed

-- subtotals
select id, label, grouping(id) as level, sum(x) as total from n.t group by rollup (id, label);
-- id: t.id copied
-- label: t.label copied
-- level:
-- total: t.x computed
-- rows: t.id grouped, t.label grouped

-- the value of the first row by time
select id, arg_min(x, ts) as first_x from n.t group by id;
-- id: t.id copied
-- first_x: t.ts computed, t.x computed
-- rows: t.id grouped

-- an ordered aggregate
select id, string_agg(label order by ts) as labels from n.t group by id;
-- id: t.id copied
-- labels: t.label computed, t.ts computed
-- rows: t.id grouped

-- an aggregate over an ordered subquery
select list(x) as xs from (select x from n.t order by ts, id);
-- xs: t.id computed, t.ts computed, t.x computed

-- distinct values
select distinct label from n.t;
-- label: t.label copied
-- rows: t.label grouped

-- the first row of each group
select distinct on (id) id, x from n.t order by id, ts;
-- id: t.id copied
-- x: t.x copied
-- rows: t.id filtered, t.id grouped, t.ts filtered

-- the newest rows
select x from n.t order by ts desc, id limit 2;
-- x: t.x copied
-- rows: t.id filtered, t.ts filtered

-- an order without a limit changes nothing
select x from n.t order by ts;
-- x: t.x copied

-- the number of rows from another table
select x from n.t limit (select max(y) from n.u);
-- x: t.x copied
-- rows: u.y filtered

-- a window with its partition and order
select id, label, row_number() over (partition by id order by ts, x) as place from n.t;
-- id: t.id copied
-- label: t.label copied
-- place: t.id computed, t.ts computed, t.x computed

-- a named window with a frame
select sum(x) over w as running, lag(label) over w as before from n.t window w as (partition by id order by ts rows between 1 preceding and current row);
-- running: t.id computed, t.ts computed, t.x computed
-- before: t.id computed, t.label computed, t.ts computed

-- QUALIFY keeps rows by a window
select id, x from n.t qualify row_number() over (partition by id order by ts desc, x) = 1;
-- id: t.id copied
-- x: t.x copied
-- rows: t.id filtered, t.ts filtered, t.x filtered

-- QUALIFY by an alias
select id, x, rank() over (order by ts) as place from n.t qualify place < 3;
-- id: t.id copied
-- x: t.x copied
-- place: t.ts computed
-- rows: t.ts filtered

-- a field of a struct column
select s.p as p, s.q as q from n.t;
-- p: t.s computed
-- q: t.s computed

-- a struct made and taken apart again
select made.a as a, made.b as b from (select {'a': x, 'b': label} as made from n.t);
-- a: t.x copied
-- b: t.label copied

-- a whole row as a struct, of which one field is taken
select r.x as x from (select r from (select id, x from n.t) as r);
-- x: t.x copied

-- a list made into rows
select id, unnest(l) as item from n.t;
-- id: t.id copied
-- item: t.l computed
-- rows: t.l joined

-- a list made into rows in the FROM clause
select t.id, item from n.t as t, unnest(t.l) as items (item);
-- id: t.id copied
-- item: t.l computed
-- rows: t.l joined

-- a lambda that reads another column
select list_transform(l, v -> v + x) as more from n.t;
-- more: t.l computed, t.x computed

-- a list comprehension
select [v * id for v in l if v > x] as some from n.t;
-- some: t.id computed, t.l computed, t.x computed

-- a table function with arguments from a table
select t.id, g from n.t as t, generate_series(1, t.x) as series (g);
-- id: t.id copied
-- g: t.x computed
-- rows: t.x joined

-- a table function alone
select day from generate_series(1, 3) as days (day);
-- day:

-- constants and values
select a, x from (values (1), (2)) as v (a) join n.t on a = x;
-- a:
-- x: t.x copied
-- rows: t.x joined

-- CASE and COALESCE
select case when label = 'a' then x end as some, coalesce(x, id) as either from n.t;
-- some: t.label computed, t.x computed
-- either: t.id computed, t.x computed

-- a cast changes a value
select cast(x as varchar) as words from n.t;
-- words: t.x computed

-- a scalar subquery
select id, (select max(y) from n.u where note <> 'a') as top from n.t;
-- id: t.id copied
-- top: u.note filtered, u.y computed

-- a correlated scalar subquery
select t.id, (select max(u.y) from n.u as u where u.id = t.id) as top from n.t as t;
-- id: t.id copied
-- top: t.id filtered, u.id filtered, u.y computed

-- a subquery within a subquery, correlated over two levels
select t.id, (select max(u.y) from n.u as u where u.id = t.id and u.y >= (select min(v.y) from n.u as v where v.id = u.id and v.y > t.x)) as top from n.t as t;
-- id: t.id copied
-- top: t.id filtered, t.x filtered, u.id filtered, u.y computed, u.y filtered

-- IN
select x from n.t where id in (select id from n.u where note = 'a');
-- x: t.x copied
-- rows: t.id filtered, u.id filtered, u.note filtered

-- IN as a value
select id, id in (select y from n.u) as known from n.t;
-- id: t.id copied
-- known: t.id computed, u.y computed

-- EXISTS, correlated
select t.x from n.t as t where exists (select 1 from n.u as u where u.id = t.id and u.y > 1);
-- x: t.x copied
-- rows: t.id filtered, u.id filtered, u.y filtered

-- NOT EXISTS
select t.x from n.t as t where not exists (select 1 from n.u as u where u.id = t.id);
-- x: t.x copied
-- rows: t.id filtered, u.id filtered

-- greater than all
select x from n.t where x > all (select y from n.u);
-- x: t.x copied
-- rows: t.x filtered, u.y filtered

-- a lateral subquery
select t.id, s.top from n.t as t, lateral (select max(u.y) as top from n.u as u where u.id = t.id) as s;
-- id: t.id copied
-- top: u.y computed
-- rows: t.id filtered, u.id filtered

-- a CTE used twice
with c as (select id, x, ts from n.t) select a.x, b.x as other from c as a join c as b on a.id = b.id and a.ts < b.ts;
-- x: t.x copied
-- other: t.x copied
-- rows: t.id joined, t.ts joined

-- a CTE that is not used
with c as (select id from n.u where y > 1) select x from n.t;
-- x: t.x copied

-- a CTE with the name of a table
with u as (select id as y from n.t) select y from u;
-- y: t.id copied

-- a CTE within a CTE
with c as (with d as (select id, x from n.t where x > 0) select id, max(x) as x from d group by id) select c.x, u.y from c join n.u as u using (id);
-- x: t.x computed
-- y: u.y copied
-- rows: t.id grouped, t.id joined, t.x filtered, u.id joined

-- recursion
with recursive r (start, now) as (select id, x from n.t union select r.start, u.y from r join n.u as u on u.id = r.now) select start, now from r;
-- start: t.id copied
-- now: t.x copied, u.y copied
-- rows: t.id grouped, t.x grouped, t.x joined, u.id joined, u.y grouped, u.y joined

-- PIVOT
select * from (pivot (select id, label, x from n.t) on label in ('a', 'b') using sum(x) group by id);
-- id: t.id copied
-- a: t.label computed, t.x computed
-- b: t.label computed, t.x computed
-- rows: t.id grouped

-- UNPIVOT
select * from (unpivot (select id, x, ts from n.t) on x into name kind value amount);
-- id: t.id copied
-- ts: t.ts copied
-- kind:
-- amount: t.x computed
-- rows: t.x filtered, t.x joined

-- a query that begins with FROM
from (select x, id from n.t where label is not null) select id;
-- id: t.id copied
-- rows: t.label filtered

-- columns of a table with the name of a function
select t.ts::date as day, date_trunc('month', t.ts) as month from n.t as t;
-- day: t.ts computed
-- month: t.ts computed

-- a text column compared only
select count(*) as n from n.t as t join n.u as u on t.label = u.note;
-- n: t.label joined, u.note joined

-- PIVOT over more values than DuckDB turns into filters
select id, "2" as two from (pivot (select id, x, label from n.t) on x in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24) using max(label) group by id);
-- id: t.id copied
-- two: t.label computed, t.x computed, t.x grouped
-- rows: t.id grouped

-- a window over groups, with a filter of its own
select id, sum(sum(x)) filter (where id > 0) over (order by id) as running from n.t group by id;
-- id: t.id copied
-- running: t.id computed, t.x computed
-- rows: t.id grouped

-- a row's number by the order of a subquery
select label, row_number() over () as place from (select label from n.t order by ts, x);
-- label: t.label copied
-- place: t.ts computed, t.x computed

-- a struct within a struct
select made.inner_part.a as a from (select {'inner_part': {'a': x, 'b': id}, 'c': label} as made from n.t);
-- a: t.x copied

-- a sample keeps columns as they are
select id from n.t using sample reservoir (3 rows) repeatable (7);
-- id: t.id copied

-- a condition that is always false
select x from n.t where false;
-- x: t.x copied

-- the same aggregate in two branches
select 'all' as kind, count(*) as n from n.t where x > 1 union all select label, count(*) from n.t group by label;
-- kind: t.label copied
-- n: t.x filtered
-- rows: t.label grouped

-- groups of groups
select id, count(*) as n from (select id, x from n.t group by id, x) group by id;
-- id: t.id copied
-- n: t.x grouped
-- rows: t.id grouped

-- groups of groups of which some are left out
select id, count(*) as n from (select id, x from n.t group by id, x having count(*) > 1) group by id;
-- id: t.id copied
-- n:
-- rows: t.id grouped, t.x grouped

-- groups of groups of groups, of which some are left out
select x from (select id, x from (select id, x from n.t group by id, x having count(*) > 1) group by id, x) group by x;
-- x: t.x copied
-- rows: t.id grouped, t.x grouped

-- a condition of a lateral join that treats NULL as a value
select t.id, k.y from n.t as t left join lateral (select y from n.u as u where u.id = t.id) as k on k.y is not distinct from t.x;
-- id: t.id copied
-- y: u.y copied
-- rows: t.id filtered, t.x joined, u.id filtered, u.y joined

-- the first row of each group by the order of a subquery
select distinct on (id) id, x from (select * from n.t order by ts);
-- id: t.id copied
-- x: t.x copied
-- rows: t.id grouped, t.ts filtered

-- another aggregate over an ordered subquery
select listagg(label, ',') as labels from (select label from n.t order by ts, x);
-- labels: t.label computed, t.ts computed, t.x computed

-- a limit over a union of an ordered query
select * from ((select id from n.t order by ts, x) union all select id from n.u) limit 7;
-- id: t.id copied, u.id copied
-- rows: t.ts filtered, t.x filtered

-- rows side by side in the order of a subquery
select x, y from n.t positional join (select y from n.u order by ts, id);
-- x: t.x copied
-- y: u.y copied
-- rows: u.id joined, u.ts joined

-- a struct's field in another case
select r.ID as id from (select t as r from n.t as t);
-- id: t.id copied

-- groups by a count of groups
select n, count(*) as often from (select id, count(*) as n from n.t group by id) group by n;
-- n:
-- often: t.id grouped
-- rows: t.id grouped
