-- Accounts. Row U4.
CREATE TABLE user (
    id            TEXT    PRIMARY KEY CHECK (id LIKE 'usr\_%' ESCAPE '\'),
    email         TEXT    NOT NULL UNIQUE
                  CHECK (email = lower(email) AND length(email) BETWEEN 3 AND 254),
    name          TEXT    NOT NULL CHECK (length(name) <= 100),
    role          TEXT    NOT NULL CHECK (role IN ('shopper', 'support', 'admin')),
    password_hash TEXT    NOT NULL,                       -- argon2id, PHC form; or empty
    created       INTEGER NOT NULL                        -- ns
) STRICT, WITHOUT ROWID;

-- Address books. Row U2.
CREATE TABLE address (
    user       TEXT    NOT NULL REFERENCES user (id),
    id         TEXT    NOT NULL,
    n          INTEGER NOT NULL,                          -- in the order of making
    name       TEXT    NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    phone      TEXT    NOT NULL CHECK (length(phone) BETWEEN 3 AND 30),
    lines      TEXT    NOT NULL CHECK (json_array_length(lines) BETWEEN 1 AND 5),
    city       TEXT    NOT NULL CHECK (length(city) BETWEEN 1 AND 100),
    postcode   TEXT    NOT NULL CHECK (length(postcode) <= 20),
    country    TEXT    NOT NULL CHECK (country GLOB '[A-Z][A-Z]'),
    is_default INTEGER NOT NULL CHECK (is_default IN (0, 1)),
    PRIMARY KEY (user, id)
) STRICT, WITHOUT ROWID;
-- Not a partial index: SQLite would plan every query of the table anew for
-- every argument.
CREATE UNIQUE INDEX address_default ON address (CASE is_default WHEN 1 THEN user END);

-- Sessions ended before their time. Seq is never used again, because readers
-- go on after the last one they know. Row U1.
CREATE TABLE revocation (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    user    TEXT    NOT NULL REFERENCES user (id),
    session TEXT    UNIQUE,                               -- SHA-256 in hex; NULL: all of the user
    before  INTEGER NOT NULL,                             -- ns; those that began before
    until   INTEGER NOT NULL,                             -- ns; none that is meant lives longer
    CHECK ((session IS NULL) = (before > 0))
) STRICT;
CREATE INDEX revocation_until ON revocation (until);
