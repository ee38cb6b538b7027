"""What PostgreSQL of an Advanced cluster has that others have not, as far as it is known: extensions from the start.

What this PostgreSQL hasn't got can't be there, and pgaudit only loads at the start of a server.
"""

EXTENSIONS = ("pg_repack", "pg_stat_statements", "vector")
# Run in template1, so that every database that will be made has it.
NO_OTHERS = """
CREATE FUNCTION pg_catalog.sandbox_no_extensions() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'CREATE EXTENSION is not available on Advanced Edition clusters'
        USING ERRCODE = 'feature_not_supported';
END $$;
CREATE EVENT TRIGGER sandbox_no_extensions ON ddl_command_start WHEN TAG IN ('CREATE EXTENSION')
    EXECUTE FUNCTION pg_catalog.sandbox_no_extensions();
"""
