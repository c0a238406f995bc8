-- Coupons, clustered by owner; ids sort by the time of minting.
CREATE TABLE coupon (
    user_id     TEXT    NOT NULL CHECK (user_id <> ''),
    id          TEXT    NOT NULL UNIQUE CHECK (id GLOB 'cpn_*'),
    name        TEXT    NOT NULL CHECK (name <> ''),
    amount      INTEGER NOT NULL CHECK (amount BETWEEN 1 AND 1000000000000),
    minimum     INTEGER NOT NULL CHECK (minimum BETWEEN 0 AND 1000000000000),
    currency    TEXT    NOT NULL CHECK (length(currency) = 3),
    valid_from  INTEGER NOT NULL CHECK (valid_from >= 0),
    valid_until INTEGER NOT NULL CHECK (valid_until > valid_from),
    order_id    TEXT,     -- the order that uses it; NULL while it is open
    occurrence  INTEGER,  -- of the step by which the order uses it
    PRIMARY KEY (user_id, id),
    CHECK ((order_id IS NULL) = (occurrence IS NULL))
) STRICT, WITHOUT ROWID;

-- One step uses one coupon; the undo knows nothing but the step. Not a partial
-- index: SQLite would plan every query of the table anew for every argument.
CREATE UNIQUE INDEX coupon_step ON coupon (order_id, occurrence);
