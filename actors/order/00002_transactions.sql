-- +goose Up

-- Which orders have a SKU, for lists.
CREATE TABLE order_sku (
    sku TEXT    NOT NULL,
    n   INTEGER NOT NULL,                     -- of the order
    PRIMARY KEY (sku, n)
) STRICT, WITHOUT ROWID;
INSERT OR IGNORE INTO order_sku (sku, n)
    SELECT j.value ->> 'sku', o.n FROM orders o, json_each(o.lines) j;

-- When the undo of a step was asked for; 0 where it was not, or by a release
-- that did not note it.
ALTER TABLE steps ADD COLUMN undo_at INTEGER NOT NULL DEFAULT 0;

-- The steps that wait for an answer, but for the payments that wait for a
-- shopper, of which there may be a million: they are overdue by their order's
-- deadline.
CREATE INDEX steps_open ON steps (order_id, asked_at, undo_at)
    WHERE state IN ('asked', 'undoing') AND NOT (name = 'payment.collect' AND state = 'asked');

-- How many orders went from a state ('' for none yet) into another in a minute
-- (since 1970) of stream time. What is long ago is in minute 0.
CREATE TABLE tally (
    minute INTEGER NOT NULL,
    was    TEXT    NOT NULL,
    state  TEXT    NOT NULL,
    orders INTEGER NOT NULL CHECK (orders > 0),
    PRIMARY KEY (minute, was, state)
) STRICT, WITHOUT ROWID;
INSERT INTO tally (minute, was, state, orders)
    SELECT 0, '', state, count(*) FROM orders GROUP BY state;
