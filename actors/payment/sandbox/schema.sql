-- What a gateway knows. Times are nanoseconds since 1970 UTC, 0: never.
-- Amounts are minor units of the sandbox's one currency.

-- A row is a trade, or with status CODE a QR code that nobody has scanned yet,
-- which the protocol does not call a trade.
CREATE TABLE trade (
    n            INTEGER PRIMARY KEY,          -- tail of the trade number
    out_trade_no TEXT    NOT NULL UNIQUE,
    status       TEXT    NOT NULL CHECK (status IN ('CODE', 'WAIT_BUYER_PAY', 'TRADE_SUCCESS',
                                                    'TRADE_FINISHED', 'TRADE_CLOSED')),
    amount       INTEGER NOT NULL CHECK (amount > 0),
    refunded     INTEGER NOT NULL DEFAULT 0 CHECK (refunded BETWEEN 0 AND amount),
    subject      TEXT    NOT NULL,
    passback     TEXT    NOT NULL,
    notify_url   TEXT    NOT NULL,
    return_url   TEXT    NOT NULL,
    created      INTEGER NOT NULL,
    expires      INTEGER NOT NULL,
    paid         INTEGER NOT NULL DEFAULT 0,
    closed       INTEGER NOT NULL DEFAULT 0,
    CHECK (refunded = 0 OR paid > 0),
    CHECK (status NOT IN ('TRADE_SUCCESS', 'TRADE_FINISHED') OR paid > 0),
    -- Closed after it was paid means refunded in whole.
    CHECK (status <> 'TRADE_CLOSED' OR paid = 0 OR refunded = amount)
) STRICT;

CREATE INDEX trade_expiry ON trade (expires) WHERE status = 'WAIT_BUYER_PAY';
CREATE INDEX trade_paid ON trade (paid) WHERE paid > 0;

-- A trade never goes back, and money that came is never forgotten.
CREATE TRIGGER trade_forward BEFORE UPDATE ON trade
WHEN NEW.amount <> OLD.amount OR NEW.refunded < OLD.refunded OR (OLD.paid > 0 AND NEW.paid <> OLD.paid)
  OR (NEW.status <> OLD.status AND CASE OLD.status
      WHEN 'CODE' THEN NEW.status <> 'WAIT_BUYER_PAY'
      WHEN 'WAIT_BUYER_PAY' THEN NEW.status NOT IN ('TRADE_SUCCESS', 'TRADE_CLOSED')
      WHEN 'TRADE_SUCCESS' THEN NEW.status NOT IN ('TRADE_FINISHED', 'TRADE_CLOSED')
      ELSE 1 END)
BEGIN SELECT raise(ABORT, 'a trade only moves forward'); END;

CREATE TABLE refund (
    trade          INTEGER NOT NULL REFERENCES trade (n),
    out_request_no TEXT    NOT NULL,
    amount         INTEGER NOT NULL CHECK (amount > 0),
    reason         TEXT    NOT NULL,
    at             INTEGER NOT NULL,
    PRIMARY KEY (trade, out_request_no)
) STRICT, WITHOUT ROWID;

CREATE INDEX refund_at ON refund (at);

-- Notifies that are still to be delivered; one that was answered, or sent the
-- last time, is deleted.
CREATE TABLE notify (
    id        INTEGER PRIMARY KEY,
    trade     INTEGER NOT NULL REFERENCES trade (n),
    url       TEXT    NOT NULL,
    fields    TEXT    NOT NULL,                -- JSON object, unsigned, without notify_time
    forge     TEXT    NOT NULL,
    tries     INTEGER NOT NULL DEFAULT 0,      -- deliveries begun
    next_at   INTEGER NOT NULL,
    answer    TEXT    NOT NULL DEFAULT ''      -- to the last one, or why there was none
) STRICT;

CREATE INDEX notify_due ON notify (next_at);
CREATE INDEX notify_trade ON notify (trade);
