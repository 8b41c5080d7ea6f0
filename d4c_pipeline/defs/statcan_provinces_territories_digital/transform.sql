-- The file of 2016 has neither DGUID nor land area, that of 2021 has both. One schema for all vintages: the DGUID is
-- derived (vintage, A for administrative, 0002 for provinces and territories, code), the area is empty where it is not
-- given. The empty half of the union is only there to bring its column.
SELECT
    getvariable('vintage') || 'A0002' || PRUID AS dguid,
    PRUID,
    PRNAME,
    PRENAME,
    PRFNAME,
    PREABBR,
    PRFABBR,
    CAST(LANDAREA AS DOUBLE) AS LANDAREA,
    geometry
FROM (
    SELECT * FROM source
    UNION ALL BY NAME
    SELECT CAST(NULL AS DOUBLE) AS LANDAREA WHERE false
)
