-- Endpoints of others that get events, and what became of each. Row P8.

-- +goose Up

CREATE TABLE webhook (
    n             INTEGER PRIMARY KEY,
    id            TEXT    NOT NULL UNIQUE,
    url           TEXT    NOT NULL,
    description   TEXT    NOT NULL,
    types         TEXT    NOT NULL,             -- JSON; an empty array for all
    secret        TEXT    NOT NULL,
    old_secret    TEXT    NOT NULL DEFAULT '',  -- signs as well until old_until
    old_until     INTEGER NOT NULL DEFAULT 0,
    state         TEXT    NOT NULL CHECK (state IN ('enabled', 'disabled', 'deleted')),
    why           TEXT    NOT NULL DEFAULT '',  -- why it is disabled
    since         INTEGER NOT NULL,             -- of the state
    created       INTEGER NOT NULL,
    failures      INTEGER NOT NULL DEFAULT 0,   -- failed tries since the last success
    failing_since INTEGER NOT NULL DEFAULT 0,   -- when the first of them was
    rest_until    INTEGER NOT NULL DEFAULT 0,   -- nothing is tried before that
    replay_next   INTEGER NOT NULL DEFAULT 0,   -- entry that a replay looks at next, 0 for none
    replay_last   INTEGER NOT NULL DEFAULT 0,
    replay_all    INTEGER NOT NULL DEFAULT 0    -- what was delivered as well
) STRICT;

CREATE TABLE delivery (
    n        INTEGER PRIMARY KEY,
    id       TEXT    NOT NULL UNIQUE,           -- the webhook-id
    webhook  TEXT    NOT NULL,
    type     TEXT    NOT NULL,
    order_id TEXT    NOT NULL,
    entry    INTEGER NOT NULL,                  -- seq of the event; 0 for a test
    state    TEXT    NOT NULL CHECK (state IN
                 ('pending', 'sending', 'delivered', 'failed', 'skipped')),
    tries    INTEGER NOT NULL DEFAULT 0,        -- all of them
    round    INTEGER NOT NULL DEFAULT 0,        -- those since it was last replayed
    next_try INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    ended    INTEGER NOT NULL DEFAULT 0,
    status   INTEGER NOT NULL DEFAULT 0,        -- of the last try
    error    TEXT    NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX delivery_webhook ON delivery (webhook);
CREATE INDEX delivery_order ON delivery (order_id);
CREATE INDEX delivery_due ON delivery (webhook, next_try) WHERE state = 'pending';
CREATE INDEX delivery_sending ON delivery (webhook) WHERE state = 'sending';

CREATE TABLE delivery_try (
    delivery INTEGER NOT NULL REFERENCES delivery (n) ON DELETE CASCADE,
    number   INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    outcome  TEXT    NOT NULL,                  -- JSON
    PRIMARY KEY (delivery, number)
) STRICT, WITHOUT ROWID;
