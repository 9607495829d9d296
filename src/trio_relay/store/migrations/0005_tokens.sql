-- Credentials. Only hashes are kept: a token is shown once, when it is minted.

CREATE TABLE tokens (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    hash TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    agent_id TEXT,
    scopes TEXT NOT NULL,
    authority TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
) STRICT;

CREATE TABLE tickets (
    hash TEXT PRIMARY KEY,
    agent_id TEXT,
    scopes TEXT NOT NULL,
    token_ttl INTEGER,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX tickets_by_age ON tickets (expires_at);
