-- Natural Earth has called the gross domestic product gdp_md_est, and since version 5 gdp_md.
SELECT
    name,
    nullif(iso_a3, '-99') AS iso_a3,
    continent,
    CAST(pop_est AS BIGINT) AS pop_est,
    CAST(COLUMNS(lambda c: lower(c) IN ('gdp_md', 'gdp_md_est')) AS DOUBLE) AS gdp_md_est,
    geometry
FROM source
