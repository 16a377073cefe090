-- What Snowflake holds in the lab when a job starts: 1,000 customers, the same in every run.
-- The social security numbers lie in a range (900 to 999) that is never issued, and the mail domains are reserved.

CREATE DATABASE IF NOT EXISTS ANALYTICS;
CREATE SCHEMA IF NOT EXISTS ANALYTICS.PUBLIC;
USE SCHEMA ANALYTICS.PUBLIC;

CREATE OR REPLACE TABLE ANALYTICS.PUBLIC.CUSTOMERS (
    ID NUMBER(38, 0) NOT NULL,
    NAME VARCHAR NOT NULL,
    EMAIL VARCHAR,
    SSN VARCHAR(11),
    CITY VARCHAR,
    CREATED_AT TIMESTAMP_NTZ
);

INSERT INTO ANALYTICS.PUBLIC.CUSTOMERS (ID, NAME, EMAIL, SSN, CITY, CREATED_AT)
SELECT
    N,
    FIRST_NAME || ' ' || LAST_NAME,
    LOWER(FIRST_NAME) || '.' || LOWER(LAST_NAME) || N::VARCHAR || '@example.' || TOP_DOMAIN,
    (900 + MOD(N * 37, 100))::VARCHAR || '-' || LPAD((10 + MOD(N * 53, 90))::VARCHAR, 2, '0')
        || '-' || LPAD(MOD(N * 7919, 10000)::VARCHAR, 4, '0'),
    CITY,
    DATEADD(MINUTE, N * 1709, '2021-01-01 08:00:00'::TIMESTAMP_NTZ)
FROM (
    SELECT
        N,
        CASE MOD(N, 12)
            WHEN 0 THEN 'Ada' WHEN 1 THEN 'Bruno' WHEN 2 THEN 'Chiara' WHEN 3 THEN 'Dmitri'
            WHEN 4 THEN 'Esra' WHEN 5 THEN 'Farid' WHEN 6 THEN 'Greta' WHEN 7 THEN 'Hiro'
            WHEN 8 THEN 'Ines' WHEN 9 THEN 'Jonas' WHEN 10 THEN 'Keiko' ELSE 'Lena'
        END AS FIRST_NAME,
        CASE MOD(N, 11)
            WHEN 0 THEN 'Abel' WHEN 1 THEN 'Berg' WHEN 2 THEN 'Castillo' WHEN 3 THEN 'Dahl'
            WHEN 4 THEN 'Eriksen' WHEN 5 THEN 'Fontana' WHEN 6 THEN 'Grau' WHEN 7 THEN 'Haas'
            WHEN 8 THEN 'Ivanova' WHEN 9 THEN 'Jansen' ELSE 'Kimura'
        END AS LAST_NAME,
        CASE MOD(N, 3) WHEN 0 THEN 'com' WHEN 1 THEN 'org' ELSE 'net' END AS TOP_DOMAIN,
        CASE
            WHEN MOD(N, 97) = 0 THEN NULL
            WHEN MOD(N, 7) = 0 THEN 'Lisbon' WHEN MOD(N, 7) = 1 THEN 'Oslo'
            WHEN MOD(N, 7) = 2 THEN 'Porto Alegre' WHEN MOD(N, 7) = 3 THEN 'Québec'
            WHEN MOD(N, 7) = 4 THEN 'São Paulo' WHEN MOD(N, 7) = 5 THEN 'Tallinn' ELSE 'Zürich'
        END AS CITY
    FROM (SELECT ROW_NUMBER() OVER (ORDER BY SEQ4()) AS N FROM TABLE(GENERATOR(ROWCOUNT => 1000)))
);
