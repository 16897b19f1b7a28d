CREATE TABLE fact (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL  -- JSON
) WITHOUT ROWID;

CREATE TABLE array (
    name TEXT PRIMARY KEY,
    content BLOB NOT NULL  -- NumPy's .npy format
) WITHOUT ROWID;

CREATE TABLE configuration (
    configuration INTEGER PRIMARY KEY,
    settings TEXT NOT NULL,  -- JSON: every setting with its value
    round INTEGER NOT NULL   -- configurations that were asked from the oracle together
);

CREATE TABLE trial (
    trial INTEGER PRIMARY KEY,
    configuration INTEGER NOT NULL REFERENCES configuration,
    seed INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('running', 'completed', 'diverged', 'failed')),
    score REAL,              -- the objective at the end of training
    test TEXT,               -- JSON: metrics on the test rows
    parameters INTEGER,      -- trainable parameters
    seconds REAL,            -- this trial's share of the time
    how TEXT,                -- how it ran: alone and why, or in which pack
    message TEXT,
    UNIQUE (configuration, seed)
);

CREATE TABLE place (
    trial INTEGER PRIMARY KEY,
    program INTEGER NOT NULL,  -- trials with one number ran side by side: their epochs were passes over the data
    member INTEGER NOT NULL,   -- of these, trials with one number shared their epochs, which were trained once
    asked INTEGER NOT NULL     -- epochs that the trial asked for
) WITHOUT ROWID;

CREATE TABLE epoch (
    trial INTEGER NOT NULL REFERENCES trial ON DELETE CASCADE,
    epoch INTEGER NOT NULL,  -- 1 is the first
    metrics TEXT NOT NULL,   -- JSON: loss, accuracy, val_loss, ...; null is not finite
    seconds REAL NOT NULL,
    waited REAL NOT NULL,    -- seconds of these for which training waited for data
    PRIMARY KEY (trial, epoch)
) WITHOUT ROWID;

CREATE TABLE gradient (
    trial INTEGER NOT NULL REFERENCES trial ON DELETE CASCADE,
    epoch INTEGER NOT NULL,
    position INTEGER NOT NULL,  -- of the weight among those that were watched, from inputs to outputs
    layer TEXT NOT NULL,
    variable TEXT NOT NULL,
    quantity TEXT NOT NULL,     -- gradient_norm, weight_norm, update_ratio or zero_share
    mean REAL,                  -- statistics over the epoch's watched steps; null without a finite value
    median REAL,
    p05 REAL,
    p95 REAL,
    maximum REAL,
    steps INTEGER NOT NULL,     -- how many values were finite, and how many were not
    not_finite INTEGER NOT NULL,
    PRIMARY KEY (trial, epoch, position, quantity)
) WITHOUT ROWID;

CREATE TABLE measure (
    trial INTEGER NOT NULL REFERENCES trial ON DELETE CASCADE,
    epoch INTEGER NOT NULL,  -- 0 is before training
    name TEXT NOT NULL,
    value REAL,              -- the mean over some batches of training rows; null is not finite
    PRIMARY KEY (trial, epoch, name)
) WITHOUT ROWID;

CREATE TABLE confusion (
    trial INTEGER NOT NULL REFERENCES trial ON DELETE CASCADE,
    truth INTEGER NOT NULL,
    predicted INTEGER NOT NULL,
    rows INTEGER NOT NULL,   -- of the test rows; pairs that do not occur have no row
    PRIMARY KEY (trial, truth, predicted)
) WITHOUT ROWID;

CREATE TABLE event (
    event INTEGER PRIMARY KEY,
    time TEXT NOT NULL,      -- ISO 8601, UTC
    kind TEXT NOT NULL,
    message TEXT NOT NULL
);
