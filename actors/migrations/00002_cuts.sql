-- +goose Up

-- The rules that the file was written by: versions of the domain and of the
-- runtime.
ALTER TABLE _actor ADD COLUMN rules TEXT NOT NULL DEFAULT '';

-- Where the stream alone stopped telling the file's story. Written beside the
-- stream, so it is none of what a rebuilt file is compared in.
CREATE TABLE _cut (
    n       INTEGER PRIMARY KEY,
    reason  TEXT    NOT NULL,
    text    TEXT    NOT NULL,
    created INTEGER NOT NULL,              -- the file's anchor after it
    seq     INTEGER NOT NULL,
    at      INTEGER NOT NULL               -- stream time, ns
) STRICT;
