-- How many customers a city has.
select city, count(*) as customers
from {{ source('lab', 'customers') }}
where city is not null
group by city
