-- What an order is owed, and whether it came. One that is closed and has no
-- amount was closed before it was collected.
CREATE TABLE payment (
    order_id   TEXT    PRIMARY KEY,
    user       TEXT    NOT NULL,
    step       TEXT    NOT NULL,              -- the order's step that is answered
    occurrence INTEGER NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('open', 'closing', 'closed', 'paid')),
    amount     INTEGER NOT NULL CHECK (amount BETWEEN 0 AND 1000000000000),
    currency   TEXT    NOT NULL,
    expires_at INTEGER NOT NULL,
    release_at INTEGER NOT NULL DEFAULT 0,    -- when closing ends though nothing was heard
    attempt    TEXT    NOT NULL DEFAULT '',   -- the one that paid it
    refunding  INTEGER NOT NULL DEFAULT 0,    -- refunds of the order under way or done
    refunded   INTEGER NOT NULL DEFAULT 0,    -- those done
    CHECK (amount > 0 AND length(currency) = 3 OR state = 'closed'),
    CHECK ((release_at > 0) = (state = 'closing')),
    CHECK ((attempt <> '') = (state = 'paid')),
    CHECK (refunding BETWEEN 0 AND iif(state = 'paid', amount, 0)),
    CHECK (refunded BETWEEN 0 AND refunding)
) STRICT, WITHOUT ROWID;
CREATE INDEX payment_state ON payment (state);
CREATE INDEX payment_release ON payment (release_at) WHERE state = 'closing';

CREATE TRIGGER payment_decided BEFORE UPDATE OF state, attempt ON payment
WHEN old.state IN ('paid', 'closed') BEGIN
    SELECT raise(ABORT, 'a payment is paid or closed once');
END;

-- One trade at a gateway.
CREATE TABLE attempt (
    id         TEXT    PRIMARY KEY,           -- the gateway's out_trade_no
    order_id   TEXT    NOT NULL REFERENCES payment (order_id),
    provider   TEXT    NOT NULL,
    product    TEXT    NOT NULL,
    amount     INTEGER NOT NULL CHECK (amount > 0),
    currency   TEXT    NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('open', 'paid', 'closed')),
    link       TEXT    NOT NULL DEFAULT '',   -- JSON
    opened_at  INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    trade_no   TEXT    NOT NULL DEFAULT '',   -- of its first capture
    paid_at    INTEGER NOT NULL DEFAULT 0,
    closed_at  INTEGER NOT NULL DEFAULT 0,
    problem    TEXT,                          -- JSON of the gateway's refusal
    captured   INTEGER NOT NULL DEFAULT 0,    -- written only by the log's trigger
    returned   INTEGER NOT NULL DEFAULT 0,    -- refunds of any kind, under way or done
    next_query INTEGER NOT NULL DEFAULT 0,    -- when to ask the gateway; 0 for not
    queries    INTEGER NOT NULL DEFAULT 0,    -- how often it was asked
    queried_at INTEGER NOT NULL DEFAULT 0,    -- and when last
    CHECK ((captured > 0) = (state = 'paid')),
    CHECK (returned BETWEEN 0 AND captured)
) STRICT, WITHOUT ROWID;
-- An order's attempts, of which at most one is open.
CREATE UNIQUE INDEX attempt_order ON attempt (order_id, iif(state = 'open', '', id));
CREATE INDEX attempt_query ON attempt (next_query) WHERE next_query > 0;

-- Money that moved. A capture is told by its trade number, a refund by its own.
CREATE TABLE log (
    seq      INTEGER PRIMARY KEY,
    kind     TEXT    NOT NULL CHECK (kind IN ('pay', 'refund')),
    provider TEXT    NOT NULL,
    order_id TEXT    NOT NULL,
    attempt  TEXT    NOT NULL REFERENCES attempt (id),
    trade_no TEXT    NOT NULL CHECK (trade_no <> ''),
    refund   TEXT    NOT NULL,
    amount   INTEGER NOT NULL CHECK (amount > 0),
    currency TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    CHECK ((refund <> '') = (kind = 'refund'))
) STRICT;
CREATE UNIQUE INDEX log_once ON log (kind, provider, iif(kind = 'pay', trade_no, refund));
CREATE INDEX log_order ON log (order_id);

CREATE TRIGGER log_counts AFTER INSERT ON log WHEN new.kind = 'pay' BEGIN
    UPDATE attempt SET state = 'paid', next_query = 0, captured = captured + new.amount,
        trade_no = iif(captured = 0, new.trade_no, trade_no),
        paid_at = iif(captured = 0, new.at, paid_at)
    WHERE id = new.attempt;
END;

CREATE TRIGGER log_stays_whole BEFORE DELETE ON log BEGIN
    SELECT raise(ABORT, 'the pay log is append-only');
END;

CREATE TRIGGER log_stays_true BEFORE UPDATE ON log BEGIN
    SELECT raise(ABORT, 'the pay log is append-only');
END;

-- Money on its way back: a part of an order's, or all of what came too late or
-- twice. One that is refused and has no attempt was refused here.
CREATE TABLE refund (
    number     TEXT    PRIMARY KEY CHECK (length(number) BETWEEN 1 AND 64),
    order_id   TEXT    NOT NULL,
    step       TEXT    NOT NULL,
    occurrence INTEGER NOT NULL,
    kind       TEXT    NOT NULL CHECK (kind IN ('order', 'late')),
    state      TEXT    NOT NULL CHECK (state IN ('open', 'done', 'refused')),
    attempt    TEXT    NOT NULL,
    trade_no   TEXT    NOT NULL,
    amount     INTEGER NOT NULL,
    currency   TEXT    NOT NULL,
    problem    TEXT,                          -- JSON of the refusal
    at         INTEGER NOT NULL,
    CHECK ((problem IS NOT NULL) = (state = 'refused')),
    CHECK (amount > 0 AND attempt <> '' OR state = 'refused')
) STRICT, WITHOUT ROWID;

CREATE TRIGGER refund_decided BEFORE UPDATE ON refund WHEN old.state <> 'open' BEGIN
    SELECT raise(ABORT, 'a refund is decided once');
END;

-- What a person should know. The same thing is recorded once.
CREATE TABLE incident (
    seq      INTEGER PRIMARY KEY,
    kind     TEXT    NOT NULL,
    provider TEXT    NOT NULL,
    attempt  TEXT    NOT NULL,
    order_id TEXT    NOT NULL,
    trade_no TEXT    NOT NULL,
    amount   INTEGER NOT NULL,
    currency TEXT    NOT NULL,
    text     TEXT    NOT NULL CHECK (length(text) <= 500),
    at       INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX incident_once ON incident
    (kind, provider, attempt, trade_no, amount, currency) WHERE kind <> 'forged';
CREATE INDEX incident_kind ON incident (kind);

CREATE TRIGGER incident_stays_whole BEFORE DELETE ON incident BEGIN
    SELECT raise(ABORT, 'incidents are append-only');
END;

CREATE TRIGGER incident_stays_true BEFORE UPDATE ON incident BEGIN
    SELECT raise(ABORT, 'incidents are append-only');
END;

-- How many forged notices came, also those not recorded one by one.
CREATE TABLE forged (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    n   INTEGER NOT NULL
) STRICT;
