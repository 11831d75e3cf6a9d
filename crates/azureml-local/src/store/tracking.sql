-- What MLflow keeps of experiments and runs beside their names and values.
ALTER TABLE experiment DROP COLUMN tags;
-- Where the artifacts of the experiment's runs lie; in the local workspace where it is NULL. Likewise for a run.
ALTER TABLE experiment ADD COLUMN artifact_location TEXT;
ALTER TABLE run ADD COLUMN artifact_uri TEXT;
-- Who made the run; the owner of the local workspace where it is NULL.
ALTER TABLE run ADD COLUMN user TEXT;

CREATE TABLE experiment_tag (
    experiment INTEGER NOT NULL REFERENCES experiment (id),
    key        TEXT NOT NULL,
    value      TEXT NOT NULL,
    PRIMARY KEY (experiment, key)
) WITHOUT ROWID;

CREATE TABLE dataset (
    id          INTEGER PRIMARY KEY,
    experiment  INTEGER NOT NULL REFERENCES experiment (id),
    name        TEXT NOT NULL,
    digest      TEXT NOT NULL,
    source_type TEXT NOT NULL,
    source      TEXT NOT NULL,
    schema      TEXT,
    profile     TEXT,
    UNIQUE (experiment, name, digest)
);

-- A dataset that a run has read.
CREATE TABLE input (
    id      INTEGER PRIMARY KEY,
    run     TEXT NOT NULL REFERENCES run (id),
    dataset INTEGER NOT NULL REFERENCES dataset (id),
    UNIQUE (run, dataset)
);

CREATE TABLE input_tag (
    input INTEGER NOT NULL REFERENCES input (id),
    key   TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (input, key)
) WITHOUT ROWID;
