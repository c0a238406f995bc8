-- Courses. The counts follow from the enrolments, by the triggers below.
CREATE TABLE course (
    sku      TEXT    PRIMARY KEY CHECK (sku <> ''),
    title    TEXT    NOT NULL CHECK (title <> ''),
    seats    INTEGER NOT NULL CHECK (seats BETWEEN -1 AND 1000000),  -- -1: no limit
    enrolled INTEGER NOT NULL DEFAULT 0 CHECK (enrolled >= 0),
    waiting  INTEGER NOT NULL DEFAULT 0 CHECK (waiting >= 0),
    details  TEXT    NOT NULL,  -- JSON of names and values; empty for none
    CHECK (seats = -1 OR enrolled <= seats)
) STRICT, WITHOUT ROWID;

-- For the tick: courses that students wait for.
CREATE INDEX course_waiting ON course (waiting);

-- A user's place in a course, one for ever; a withdrawn one is overwritten by
-- the next order for the course.
CREATE TABLE enrolment (
    n        INTEGER PRIMARY KEY,  -- grows with the time of the paid order
    sku      TEXT    NOT NULL REFERENCES course,
    user_id  TEXT    NOT NULL CHECK (user_id <> ''),
    order_id TEXT    NOT NULL CHECK (order_id <> ''),
    state    TEXT    NOT NULL CHECK (state IN ('enrolled', 'waiting', 'withdrawn')),
    units    INTEGER NOT NULL CHECK (units >= 0),  -- of the order, not refunded yet
    at       INTEGER NOT NULL,
    ended    INTEGER NOT NULL DEFAULT 0,
    UNIQUE (user_id, sku),
    CHECK ((units = 0) = (state = 'withdrawn')),
    CHECK ((ended > 0) = (state = 'withdrawn'))
) STRICT;

CREATE INDEX enrolment_sku ON enrolment (sku);

-- The waiting lists. No statement may compare state to a parameter: SQLite
-- would plan it anew for every value.
CREATE INDEX enrolment_waiting ON enrolment (sku) WHERE state = 'waiting';

CREATE TRIGGER enrolment_made AFTER INSERT ON enrolment BEGIN
    UPDATE course SET enrolled = enrolled + (NEW.state = 'enrolled'),
        waiting = waiting + (NEW.state = 'waiting') WHERE sku = NEW.sku;
END;

CREATE TRIGGER enrolment_changed AFTER UPDATE OF state ON enrolment BEGIN
    UPDATE course SET enrolled = enrolled + (NEW.state = 'enrolled') - (OLD.state = 'enrolled'),
        waiting = waiting + (NEW.state = 'waiting') - (OLD.state = 'waiting')
    WHERE sku = NEW.sku;
END;
