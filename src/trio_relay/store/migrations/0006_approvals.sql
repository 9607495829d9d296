-- A program asks whether it may do something; the first answer is the answer. key: the asker's, so that it may repeat.
CREATE TABLE approvals (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    agent_id TEXT NOT NULL,
    key TEXT,
    tool TEXT NOT NULL,
    summary TEXT NOT NULL,
    detail TEXT,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'allowed', 'denied', 'withdrawn', 'expired')),
    decided_by TEXT,
    reason TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    decided_at INTEGER
) STRICT;
CREATE UNIQUE INDEX approvals_by_key ON approvals (agent_id, key) WHERE key IS NOT NULL;
CREATE INDEX approvals_by_agent ON approvals (agent_id, id);
CREATE INDEX approvals_by_state ON approvals (state, id);
CREATE INDEX approvals_pending ON approvals (expires_at) WHERE state = 'pending';
CREATE INDEX approvals_over ON approvals (decided_at) WHERE decided_at IS NOT NULL;
