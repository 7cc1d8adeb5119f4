"""What the database itself enforces, whoever writes to it: the triggers, and what the application's role is granted.

Rules of this module:

* Events and checkpoints are only ever added to, each event at the next position.
* On PostgreSQL versions of a stream follow each other from 1 (or 0) on, times are those that can be written, and a
  checkpoint is of events that are there: what a member sends by hand stays readable.
* On PostgreSQL the actor of an event is the role that logged in, its leaf is computed from the row, and the head from
  the leaves (`ledger.merkle` has the formats), whatever a client sends. So the application's role needs no right but to
  insert and to read, and can't damage the proof. For that payloads are stored as they are: PostgreSQL compresses long
  values anyway.
* Those functions are nobody's to execute: a trigger needs no right when it fires, only who makes one does.
* All statements for PostgreSQL can be run again: `migrate` does, so an older ledger gets what a new one has.
* The head's row is locked by whoever appends, so positions have no gaps even for a client without the advisory lock.
* A copy of another ledger keeps its actors: the tables are filled before their triggers are made, which only their
  owner can do.
"""

from __future__ import annotations

from ledger.store.tables import NOT_NEXT, TAKEN

LATEST = 253_402_300_799  # the end of the year 9999: later times can't be written
NO_SUCCESSOR = "the version of an event is the next one of its stream"

SQLITE = (
    f"""CREATE TRIGGER event_is_next BEFORE INSERT ON event
        WHEN NEW.position IS NOT (SELECT coalesce(max(position), 0) + 1 FROM event)
        BEGIN SELECT RAISE(ABORT, '{NOT_NEXT}'); END""",
    f"""CREATE TRIGGER event_is_new BEFORE INSERT ON event
        WHEN EXISTS (SELECT 1 FROM event WHERE stream = NEW.stream AND version = NEW.version)
        BEGIN SELECT RAISE(ABORT, '{TAKEN}'); END""",
    """CREATE TRIGGER event_never_changes BEFORE UPDATE ON event
        BEGIN SELECT RAISE(ABORT, 'events never change'); END""",
    """CREATE TRIGGER event_stays BEFORE DELETE ON event
        BEGIN SELECT RAISE(ABORT, 'events are never deleted'); END""",
    """CREATE TRIGGER checkpoint_is_new BEFORE INSERT ON checkpoint
        WHEN EXISTS (SELECT 1 FROM checkpoint WHERE size = NEW.size)
        BEGIN SELECT RAISE(ABORT, 'a checkpoint of this size exists'); END""",
    """CREATE TRIGGER checkpoint_never_changes BEFORE UPDATE ON checkpoint
        BEGIN SELECT RAISE(ABORT, 'checkpoints never change'); END""",
    """CREATE TRIGGER checkpoint_stays BEFORE DELETE ON checkpoint
        BEGIN SELECT RAISE(ABORT, 'checkpoints are never deleted'); END""",
)

# Functions run with a search path of their own: a table of the same name elsewhere, a temporary one too, is not ours.
_SAFE = "SET search_path = waveledger, pg_catalog, pg_temp"

POSTGRESQL = (
    f"""CREATE OR REPLACE FUNCTION waveledger.event_is_said() RETURNS trigger LANGUAGE plpgsql {_SAFE} AS $$
    DECLARE
        stream bytea := convert_to(NEW.stream, 'UTF8');
        topic bytea := convert_to(NEW.topic, 'UTF8');
        actor bytea := convert_to(session_user::text, 'UTF8');
    BEGIN
        IF NEW.recorded_at NOT BETWEEN 0 AND {LATEST} THEN
            RAISE EXCEPTION 'the time of an event is between 1970 and 9999'
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        NEW.actor := session_user::text;
        NEW.encoding := 'json';
        NEW.leaf := sha256('\\x00'::bytea
            || int8send(8) || int8send(NEW.position) || int8send(length(stream)) || stream
            || int8send(8) || int8send(NEW.version) || int8send(length(topic)) || topic
            || int8send(8) || int8send(NEW.recorded_at) || int8send(length(actor)) || actor
            || int8send(32) || sha256(NEW.payload));
        RETURN NEW;
    END $$""",
    # The predecessor is looked up in the index, also by a plan from when the table was small.
    f"""CREATE OR REPLACE FUNCTION waveledger.event_is_next() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET enable_seqscan = off {_SAFE} AS $$
    DECLARE
        total bigint;
        latest bigint;
        tree bytea;
        peaks bytea[] := '{{}}';
        added record;
        node bytea;
        rest bigint;
    BEGIN
        IF TG_RELID <> 'waveledger.event'::regclass THEN
            RAISE EXCEPTION 'the head moves with the table of events only'
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        SELECT h.size, h.recorded_at, h.frontier INTO STRICT total, latest, tree FROM head h WHERE h.id = 1 FOR UPDATE;
        FOR place IN 0 .. (length(tree) - 8) / 32 - 1 LOOP
            peaks := peaks || substring(tree FROM 9 + 32 * place FOR 32);
        END LOOP;
        FOR added IN
            SELECT position, stream, version, recorded_at, leaf FROM appended ORDER BY position
        LOOP
            IF added.position <> total + 1 OR added.recorded_at < latest THEN
                RAISE EXCEPTION '{NOT_NEXT}' USING ERRCODE = 'integrity_constraint_violation';
            END IF;
            IF (CASE WHEN added.version > 1 THEN NOT EXISTS (
                SELECT FROM event e
                WHERE e.stream = added.stream AND e.version = added.version - 1 AND e.position < added.position
            ) ELSE added.version < 0 OR EXISTS (
                SELECT FROM event e
                WHERE e.stream = added.stream AND e.version >= added.version AND e.position < added.position
            ) END) THEN
                RAISE EXCEPTION '{NO_SUCCESSOR}' USING ERRCODE = 'integrity_constraint_violation';
            END IF;
            node := added.leaf;
            rest := total;
            WHILE rest & 1 = 1 LOOP
                node := sha256('\\x01'::bytea || peaks[cardinality(peaks)] || node);
                peaks := peaks[: cardinality(peaks) - 1];
                rest := rest >> 1;
            END LOOP;
            peaks := peaks || node;
            total := added.position;
            latest := added.recorded_at;
        END LOOP;
        tree := int8send(total);
        FOREACH node IN ARRAY peaks LOOP
            tree := tree || node;
        END LOOP;
        UPDATE head SET size = total, recorded_at = latest, frontier = tree WHERE id = 1;
        RETURN NULL;
    END $$""",
    # Else somebody takes a size before the ledger has it.
    f"""CREATE OR REPLACE FUNCTION waveledger.checkpoint_is_due() RETURNS trigger LANGUAGE plpgsql {_SAFE} AS $$
    BEGIN
        IF NEW.size NOT BETWEEN 0 AND (SELECT size FROM head WHERE id = 1) THEN
            RAISE EXCEPTION 'a checkpoint is of events that are there'
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW;
    END $$""",
    f"""CREATE OR REPLACE FUNCTION waveledger.history_stays() RETURNS trigger LANGUAGE plpgsql {_SAFE} AS $$
    BEGIN
        RAISE EXCEPTION '% refused: a % never changes and is never deleted', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'integrity_constraint_violation';
    END $$""",
    """CREATE OR REPLACE TRIGGER event_is_said BEFORE INSERT ON event
        FOR EACH ROW EXECUTE FUNCTION waveledger.event_is_said()""",
    """CREATE OR REPLACE TRIGGER event_is_next AFTER INSERT ON event REFERENCING NEW TABLE AS appended
        FOR EACH STATEMENT EXECUTE FUNCTION waveledger.event_is_next()""",
    """CREATE OR REPLACE TRIGGER checkpoint_is_due BEFORE INSERT ON checkpoint
        FOR EACH ROW EXECUTE FUNCTION waveledger.checkpoint_is_due()""",
    *(
        f"""CREATE OR REPLACE TRIGGER {table}_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
        FOR EACH STATEMENT EXECUTE FUNCTION waveledger.history_stays()"""
        for table in ("event", "checkpoint")
    ),
    # A function of the owner's would else work for anybody who hangs it on a table of their own.
    "REVOKE ALL ON ALL FUNCTIONS IN SCHEMA waveledger FROM PUBLIC",
)

# What a role that does not own the events may do with them. It owns the projections.
GRANTS = (
    "GRANT USAGE ON SCHEMA waveledger TO {role}",
    "GRANT SELECT ON ALL TABLES IN SCHEMA waveledger TO {role}",
    "GRANT INSERT ON event, checkpoint TO {role}",
    "GRANT INSERT, UPDATE ON tracking TO {role}",
)

# Who else may write to them: an application's role of before, say. Who may only read is somebody's wish.
OTHERS = """
SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN (SELECT oid AS of, relacl AS acl FROM pg_class UNION ALL SELECT attrelid, attacl FROM pg_attribute) granted
        ON granted.of = c.oid, aclexplode(granted.acl) a
WHERE n.nspname = 'waveledger' AND a.grantee <> c.relowner AND a.privilege_type <> 'SELECT'
    AND (a.grantee = 0 OR pg_get_userbyid(a.grantee) <> ?)"""
REVOKE = "REVOKE INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER ON ALL TABLES IN SCHEMA waveledger FROM {role}"
