-- The databases of docker-compose.yml and their owner, a role without any right beyond them. Run by the superuser, any number
-- of times: psql --set password=... --file databases.sql. Two databases, because both Dagster and the ledger keep a table
-- `alembic_version`.
\set ON_ERROR_STOP on
SELECT 'CREATE ROLE d4c' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'd4c') \gexec
ALTER ROLE d4c LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD :'password';
SELECT format('CREATE DATABASE %I OWNER d4c', name) FROM (VALUES ('d4c'), ('dagster')) AS wanted (name)
  WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = name) \gexec
REVOKE CONNECT ON DATABASE d4c, dagster FROM PUBLIC;
