-- Two roles for a ledger in PostgreSQL: one owns the history, the other, which people are members of, works with it.
-- Run it as a superuser, or as the database's owner with the right to create roles, in the ledger's own database, before
-- `waveledger init`, or on a ledger that one role owned so far. It can be run again. To have other names, change them here.
--
--     psql -d fleet -f scripts/postgres-grants.sql
--     psql -d fleet -c 'CREATE ROLE keeper LOGIN; GRANT waveledger, waveledger_owner TO keeper'     init and migrate only
--     psql -d fleet -c 'CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; GRANT waveledger TO alice, bob'
--
-- Then the first of them runs `waveledger init`, or `waveledger migrate`: that grants what the application needs, which is to
-- read everything, to append events and checkpoints, and nothing else.
--
-- Nobody works every day with a login that is in waveledger_owner: the projections belong to waveledger, so its members can
-- hang triggers on them that run in the session of whoever comes next, with all that this login may do. For the same reason
-- members of waveledger have to trust each other. Waveledger refuses to write while it finds such a trigger.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'waveledger_owner') THEN
        CREATE ROLE waveledger_owner NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'waveledger') THEN
        CREATE ROLE waveledger NOLOGIN;
    END IF;
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        -- Who is no superuser gives things to members of the same roles only.
        EXECUTE format('GRANT waveledger_owner, waveledger TO %I', current_user);
    END IF;
END $$;

CREATE SCHEMA IF NOT EXISTS waveledger;
CREATE SCHEMA IF NOT EXISTS waveledger_projections;
ALTER SCHEMA waveledger OWNER TO waveledger_owner;
ALTER SCHEMA waveledger_projections OWNER TO waveledger;

-- What is there already.
DO $$
DECLARE
    found record;
BEGIN
    FOR found IN
        SELECT c.oid::regclass AS name, n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname IN ('waveledger', 'waveledger_projections') AND c.relkind = 'r'
    LOOP
        EXECUTE format('ALTER TABLE %s OWNER TO %I', found.name,
            CASE found.nspname WHEN 'waveledger' THEN 'waveledger_owner' ELSE 'waveledger' END);
    END LOOP;
    FOR found IN
        SELECT p.oid::regprocedure AS name FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname = 'waveledger'
    LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO waveledger_owner', found.name);
    END LOOP;
END $$;
