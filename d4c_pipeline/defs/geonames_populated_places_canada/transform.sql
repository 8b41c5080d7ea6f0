-- The country file holds features of every class; class P are the populated places. The extract of the demo holds
-- nothing else and leaves the class empty.
SELECT
    CAST(geonameid AS BIGINT) AS geonameid,
    name,
    nullif(alternatenames, '') AS alternate_names,
    CASE admin1_code
        WHEN '01' THEN 'AB'
        WHEN '02' THEN 'BC'
        WHEN '03' THEN 'MB'
        WHEN '04' THEN 'NB'
        WHEN '05' THEN 'NL'
        WHEN '07' THEN 'NS'
        WHEN '08' THEN 'ON'
        WHEN '09' THEN 'PE'
        WHEN '10' THEN 'QC'
        WHEN '11' THEN 'SK'
        WHEN '12' THEN 'YT'
        WHEN '13' THEN 'NT'
        WHEN '14' THEN 'NU'
    END AS province_territory,
    nullif(admin1_code, '') AS admin1_code,
    nullif(CAST(nullif(population, '') AS BIGINT), 0) AS population,
    nullif(timezone, '') AS timezone,
    CAST(latitude AS DOUBLE) AS latitude,
    CAST(longitude AS DOUBLE) AS longitude,
    geometry
FROM source
WHERE coalesce(nullif(feature_class, ''), 'P') = 'P'
