-- Every event, in the order of arrival. Row L4.
CREATE TABLE entry (
    seq      INTEGER PRIMARY KEY,
    id       TEXT    NOT NULL UNIQUE CHECK (id <> ''),      -- message identity
    type     TEXT    NOT NULL CHECK (type <> ''),
    order_id TEXT    NOT NULL CHECK (order_id <> ''),
    user     TEXT    NOT NULL,
    data     TEXT,                                          -- JSON
    at       INTEGER NOT NULL CHECK (at > 0)                -- ns
) STRICT;
CREATE INDEX entry_order ON entry (order_id);
CREATE INDEX entry_type ON entry (type);

-- The journal is append-only.
CREATE TRIGGER entry_never_changes BEFORE UPDATE ON entry
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER entry_never_goes BEFORE DELETE ON entry
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
