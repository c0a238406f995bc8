-- One row an order, for ever. What changes or is searched comes first, so that
-- reading it never touches the pages of long lines.
CREATE TABLE orders (
    n          INTEGER PRIMARY KEY,           -- order of submission, the cursor of lists
    id         TEXT    NOT NULL UNIQUE,
    token      TEXT    NOT NULL UNIQUE,       -- a checkout becomes at most one order
    user       TEXT    NOT NULL,
    body_hash  TEXT    NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN
               ('pending', 'placed', 'paid', 'refused', 'closing', 'cancelled')),
    deadline   INTEGER,                       -- ns: to decide (pending) or to pay (placed)
    expiry     INTEGER NOT NULL CHECK (expiry > 0),  -- seconds to pay, as configured at submit
    currency   TEXT    NOT NULL,
    subtotal   INTEGER NOT NULL,
    discount   INTEGER NOT NULL CHECK (discount >= 0),
    total      INTEGER NOT NULL CHECK (total >= 0),
    balance    INTEGER NOT NULL CHECK (balance BETWEEN 0 AND total),
    coupon     TEXT    NOT NULL,
    pay_method TEXT    NOT NULL,
    channel    TEXT    NOT NULL,
    from_cart  INTEGER NOT NULL CHECK (from_cart IN (0, 1)),
    created    INTEGER NOT NULL,
    decided    INTEGER NOT NULL DEFAULT 0,
    expires_at INTEGER NOT NULL DEFAULT 0,
    paid_at    INTEGER NOT NULL DEFAULT 0,
    closed_at  INTEGER NOT NULL DEFAULT 0,
    attempt    TEXT    NOT NULL DEFAULT '',   -- what paid it, at which provider
    provider   TEXT    NOT NULL DEFAULT '',
    trade_no   TEXT    NOT NULL DEFAULT '',
    points     INTEGER NOT NULL DEFAULT 0,    -- that it earned
    refunds    INTEGER NOT NULL DEFAULT 0,    -- how many there were, denied ones included
    refunded   INTEGER NOT NULL DEFAULT 0,    -- of the total, by refunds not denied or failed
    back_balance INTEGER NOT NULL DEFAULT 0,  -- the part of it that was balance
    back_points  INTEGER NOT NULL DEFAULT 0,  -- points taken back with it
    reason     TEXT,                          -- JSON of the refusal
    address    TEXT    NOT NULL,              -- JSON
    lines      TEXT    NOT NULL,              -- JSON; snapshots once the stock is held
    CHECK (subtotal = total + discount),
    CHECK ((deadline IS NOT NULL) = (state IN ('pending', 'placed'))),
    CHECK ((reason IS NOT NULL) = (state IN ('refused', 'closing', 'cancelled'))),
    CHECK (state <> 'placed' OR (balance < total AND expires_at > 0)),
    CHECK (state <> 'paid' OR paid_at > 0),
    CHECK (refunded = 0 OR state = 'paid'),
    CHECK (refunded BETWEEN 0 AND total),
    CHECK (back_balance BETWEEN 0 AND balance AND refunded - back_balance BETWEEN 0 AND total - balance),
    CHECK (back_points BETWEEN 0 AND points)
) STRICT;

-- Rows of an index with the same key are in the order of n.
CREATE INDEX orders_user ON orders (user);
CREATE INDEX orders_state ON orders (state);
CREATE INDEX orders_deadline ON orders (deadline) WHERE deadline IS NOT NULL;

-- What participants were asked to do for an order, and what they answered.
CREATE TABLE steps (
    order_id    TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    occurrence  INTEGER NOT NULL,
    state       TEXT    NOT NULL CHECK (state IN
                ('asked', 'done', 'refused', 'undoing', 'undone')),
    attempts    INTEGER NOT NULL,
    asked_at    INTEGER NOT NULL,
    answered_at INTEGER NOT NULL DEFAULT 0,
    refusal     TEXT,                         -- JSON
    PRIMARY KEY (order_id, name, occurrence)
) STRICT, WITHOUT ROWID;

-- What is given back of paid orders.
CREATE TABLE refund (
    n          INTEGER PRIMARY KEY,           -- the cursor of lists
    id         TEXT    NOT NULL UNIQUE,
    order_id   TEXT    NOT NULL REFERENCES orders (id),
    user       TEXT    NOT NULL,
    number     INTEGER NOT NULL CHECK (number > 0),  -- occurrence of its steps
    state      TEXT    NOT NULL CHECK (state IN
               ('asked', 'denied', 'running', 'done', 'failed')),
    currency   TEXT    NOT NULL,
    money      INTEGER NOT NULL CHECK (money >= 0),
    balance    INTEGER NOT NULL CHECK (balance >= 0),
    points     INTEGER NOT NULL CHECK (points >= 0),
    coupon     TEXT    NOT NULL DEFAULT '',
    asked_by   TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    decided_by TEXT    NOT NULL DEFAULT '',
    note       TEXT    NOT NULL DEFAULT '',
    problem    TEXT,                          -- JSON of the gateway's refusal
    asked      INTEGER NOT NULL,
    decided    INTEGER NOT NULL DEFAULT 0,
    ended      INTEGER NOT NULL DEFAULT 0,
    lines      TEXT    NOT NULL,              -- JSON, with the amount of each
    UNIQUE (order_id, number),
    CHECK ((problem IS NOT NULL) = (state = 'failed'))
) STRICT;
CREATE INDEX refund_user ON refund (user);
CREATE INDEX refund_state ON refund (state) WHERE state IN ('asked', 'running');
