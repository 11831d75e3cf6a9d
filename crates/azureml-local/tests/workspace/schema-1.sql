-- The store as the first program made it. It does not change: what is made now is in src/store/schema.sql.

-- Versions of environments, codes, models and data.
CREATE TABLE asset (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    kind       TEXT NOT NULL,
    name       TEXT NOT NULL,
    version    TEXT NOT NULL,
    properties TEXT NOT NULL,
    created_at TEXT NOT NULL,
    UNIQUE (kind, name, version)
);

CREATE TABLE compute (
    name       TEXT PRIMARY KEY,
    body       TEXT NOT NULL,
    created_at TEXT NOT NULL
);

-- What a blob has beside its content.
CREATE TABLE blob (
    container    TEXT NOT NULL,
    name         TEXT NOT NULL,
    content_type TEXT,
    metadata     TEXT NOT NULL,
    PRIMARY KEY (container, name)
) WITHOUT ROWID;

CREATE TABLE experiment (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT NOT NULL UNIQUE,
    lifecycle  TEXT NOT NULL DEFAULT 'active',
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    tags       TEXT NOT NULL DEFAULT '{}'
);

-- A job is a run; a run need not be a job.
CREATE TABLE run (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL UNIQUE,
    experiment INTEGER NOT NULL REFERENCES experiment (id),
    name       TEXT NOT NULL,
    status     TEXT NOT NULL,
    start_time INTEGER,
    end_time   INTEGER,
    lifecycle  TEXT NOT NULL DEFAULT 'active'
);
CREATE INDEX run_by_experiment ON run (experiment, seq);

CREATE TABLE job (
    name       TEXT PRIMARY KEY REFERENCES run (id),
    properties TEXT NOT NULL,
    status     TEXT NOT NULL,
    error      TEXT,
    warnings   TEXT NOT NULL DEFAULT '[]',
    created_at TEXT NOT NULL,
    started_at TEXT,
    ended_at   TEXT
);

-- The status path.
CREATE TABLE status_change (
    seq    INTEGER PRIMARY KEY AUTOINCREMENT,
    job    TEXT NOT NULL REFERENCES job (name),
    status TEXT NOT NULL,
    time   TEXT NOT NULL
);
CREATE INDEX status_change_by_job ON status_change (job, seq);

-- SQLite keeps NaN as NULL.
CREATE TABLE metric (
    seq       INTEGER PRIMARY KEY AUTOINCREMENT,
    run       TEXT NOT NULL REFERENCES run (id),
    key       TEXT NOT NULL,
    value     REAL,
    timestamp INTEGER NOT NULL,
    step      INTEGER NOT NULL
);
CREATE INDEX metric_by_key ON metric (run, key, step, timestamp);

CREATE TABLE param (
    run   TEXT NOT NULL REFERENCES run (id),
    key   TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (run, key)
) WITHOUT ROWID;

CREATE TABLE tag (
    run   TEXT NOT NULL REFERENCES run (id),
    key   TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (run, key)
) WITHOUT ROWID;

-- A job that has logged 20,000 values with one peak.
INSERT INTO experiment (id, name, created_at, updated_at) VALUES (0, 'Default', 0, 0);
INSERT INTO run (id, experiment, name, status, start_time, end_time) VALUES ('old', 0, 'old', 'FINISHED', 1767225600000, 1767225660000);
INSERT INTO job (name, properties, status, created_at, started_at, ended_at) VALUES (
    'old', '{"jobType":"Command","command":"true","environmentId":"e","displayName":"old"}', 'Completed',
    '2026-01-01T00:00:00.000000Z', '2026-01-01T00:00:00.000000Z', '2026-01-01T00:01:00.000000Z');
INSERT INTO status_change (job, status, time) VALUES
    ('old', 'Queued', '2026-01-01T00:00:00.000000Z'),
    ('old', 'Running', '2026-01-01T00:00:00.000000Z'),
    ('old', 'Completed', '2026-01-01T00:01:00.000000Z');
INSERT INTO param (run, key, value) VALUES ('old', 'lr', '0.1');
INSERT INTO metric (run, key, value, timestamp, step)
    WITH RECURSIVE number (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM number WHERE n < 19999)
    SELECT 'old', 'loss', CASE n WHEN 12345 THEN 777.0 ELSE 1.0 END, n, n FROM number;
PRAGMA user_version = 1;
