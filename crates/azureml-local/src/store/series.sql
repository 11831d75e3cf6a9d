-- What pages need of a metric, kept while its values are logged: none reads them all.
CREATE TABLE series (
    id        INTEGER PRIMARY KEY,
    run       TEXT NOT NULL REFERENCES run (id),
    key       TEXT NOT NULL,
    -- The latest value.
    value     REAL,
    timestamp INTEGER NOT NULL,
    step      INTEGER NOT NULL,
    -- The place in the order of logging of what was logged last.
    newest    INTEGER NOT NULL,
    -- How many steps a stretch spans (a power of two), and how many stretches there are.
    width     INTEGER NOT NULL,
    stretches INTEGER NOT NULL,
    UNIQUE (run, key)
);

-- The least and the greatest finite value of some steps that follow each other; none where nothing is finite.
CREATE TABLE stretch (
    series        INTEGER NOT NULL REFERENCES series (id),
    start         INTEGER NOT NULL,
    least         REAL,
    least_step    INTEGER NOT NULL,
    greatest      REAL,
    greatest_step INTEGER NOT NULL,
    PRIMARY KEY (series, start)
) WITHOUT ROWID;
