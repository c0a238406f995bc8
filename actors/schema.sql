-- The runtime's own tables, the same in every actor's file.

CREATE TABLE _actor (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    owner   TEXT    NOT NULL,             -- random id of the file's owner
    epoch   TEXT    NOT NULL,             -- random part of the numbers sent from this file
    now     INTEGER NOT NULL DEFAULT 0,   -- newest stream time handled, ns
    created INTEGER NOT NULL DEFAULT 0,   -- anchor: stream created-time, ns
    seq     INTEGER NOT NULL DEFAULT 0,   -- anchor: stream sequence of the last message
    at      INTEGER NOT NULL DEFAULT 0,   -- anchor: its stream time, ns
    msg_id  TEXT    NOT NULL DEFAULT '',  -- anchor: its message id
    handled INTEGER NOT NULL DEFAULT 0,   -- messages handled, ever
    skipped INTEGER NOT NULL DEFAULT 0,   -- repeats recognised, ever
    late    INTEGER NOT NULL DEFAULT 0,   -- edge messages older than the memory of edges
    config  TEXT    NOT NULL DEFAULT 'null'
) STRICT;

-- The last number of each sender.
CREATE TABLE _in (
    sender  TEXT    NOT NULL,
    epoch   TEXT    NOT NULL,
    number  INTEGER NOT NULL CHECK (number >= 0),
    retired INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (sender, epoch)
) STRICT, WITHOUT ROWID;

-- The last number given to each receiver, and what it has committed.
CREATE TABLE _out (
    receiver  TEXT    PRIMARY KEY,
    number    INTEGER NOT NULL,
    committed INTEGER NOT NULL DEFAULT 0,
    after     INTEGER NOT NULL DEFAULT 0  -- last number given before this epoch
) STRICT, WITHOUT ROWID;

-- Messages sent, kept until committed by the receiver and then as history: a
-- row holds those that one batch sent to one receiver, as a JSON array of
-- {"subject", "cause", "body"} in the order of their numbers.
CREATE TABLE _sent (
    receiver TEXT    NOT NULL,
    first    INTEGER NOT NULL,            -- number of the first message
    last     INTEGER NOT NULL CHECK (last >= first),
    at       INTEGER NOT NULL,
    messages TEXT    NOT NULL,
    PRIMARY KEY (receiver, first)
) STRICT, WITHOUT ROWID;

-- The outbox as people and audits read it, a row a message.
CREATE VIEW _outbox (receiver, number, subject, cause, body, at) AS
    SELECT s.receiver, s.first + m.key, m.value ->> 'subject', m.value ->> 'cause',
        m.value -> 'body', s.at
    FROM _sent s, json_each(s.messages) m;

-- Messages from edges, remembered for 48 h of stream time.
CREATE TABLE _edge (
    n       INTEGER PRIMARY KEY,
    id      TEXT    NOT NULL UNIQUE,
    subject TEXT    NOT NULL,
    hash    BLOB    NOT NULL,
    refusal TEXT,
    value   TEXT,
    at      INTEGER NOT NULL
) STRICT;

-- What a participant has done and undone, by order, step and occurrence.
CREATE TABLE _step (
    order_id   TEXT    NOT NULL,
    step       TEXT    NOT NULL,
    occurrence INTEGER NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('done', 'refused', 'undone')),
    refusal    TEXT,
    data       TEXT,
    PRIMARY KEY (order_id, step, occurrence)
) STRICT, WITHOUT ROWID;

-- Work for the world outside; an open row is tried again until it is closed.
CREATE TABLE _effect (
    id       TEXT    PRIMARY KEY,
    name     TEXT    NOT NULL,
    body     TEXT    NOT NULL,
    state    TEXT    NOT NULL CHECK (state IN ('open', 'closed')),
    attempts INTEGER NOT NULL DEFAULT 0,
    next_try INTEGER NOT NULL,
    outcome  TEXT,
    at       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX _effect_open ON _effect (next_try) WHERE state = 'open';

-- Messages that could not be handled.
CREATE TABLE _dead (
    n        INTEGER PRIMARY KEY,
    id       TEXT    NOT NULL,
    subject  TEXT    NOT NULL,
    cause    TEXT    NOT NULL,
    body     TEXT    NOT NULL,
    error    TEXT    NOT NULL,
    attempts INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    state    TEXT    NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'retried', 'dismissed'))
) STRICT;

-- What an operator must look at.
CREATE TABLE _incident (
    n    INTEGER PRIMARY KEY,
    kind TEXT    NOT NULL,
    text TEXT    NOT NULL,
    at   INTEGER NOT NULL
) STRICT;
