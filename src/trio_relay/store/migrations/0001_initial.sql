-- The room: agents, messages, one inbox row per recipient, receipts, leases, the event log.
-- Times are integer Unix milliseconds. Lists and objects are JSON text.

CREATE TABLE agents (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    label TEXT,
    machine TEXT NOT NULL,
    rig TEXT NOT NULL,
    tags TEXT NOT NULL,
    capabilities TEXT NOT NULL,
    channels TEXT NOT NULL,
    status TEXT NOT NULL,
    ready INTEGER NOT NULL,
    ready_reason TEXT,
    instance_id TEXT,
    epoch INTEGER NOT NULL,
    -- when the present instance last named itself in a call after its registration; 0: never
    identified_at INTEGER NOT NULL DEFAULT 0,
    meta TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    last_seen INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX agents_by_status ON agents (status, last_seen);

-- Every address an agent answers to: its id, tag:…, cap:…, label:…, broadcast.
CREATE TABLE agent_selectors (
    selector TEXT NOT NULL,
    agent_id TEXT NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    PRIMARY KEY (selector, agent_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX agent_selectors_by_agent ON agent_selectors (agent_id);

-- One row a lease, whatever it guards. The epoch only grows; the token is new at every grant.
CREATE TABLE leases (
    key TEXT PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('open', 'held', 'done', 'dead')),
    holder TEXT,
    holder_epoch INTEGER,
    token TEXT,
    epoch INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    claimed_at INTEGER,
    expires_at INTEGER,
    result TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX leases_held ON leases (expires_at) WHERE state = 'held';
CREATE INDEX leases_by_holder ON leases (holder) WHERE state = 'held';

CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sender TEXT NOT NULL,
    target TEXT NOT NULL,
    channel TEXT,
    subject TEXT,
    body TEXT NOT NULL,
    reply_to INTEGER,
    thread_id INTEGER NOT NULL,
    hop INTEGER NOT NULL,
    claimable INTEGER NOT NULL,
    lease_key TEXT,
    type TEXT NOT NULL,
    meta TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX messages_by_thread ON messages (thread_id, id);
CREATE INDEX messages_by_sender ON messages (sender, id);
CREATE INDEX messages_by_target ON messages (target, id);
CREATE INDEX messages_by_channel ON messages (channel, id) WHERE channel IS NOT NULL;
CREATE INDEX messages_by_lease ON messages (lease_key) WHERE lease_key IS NOT NULL;
CREATE INDEX messages_by_age ON messages (created_at);

CREATE VIEW messages_with_claim AS
SELECT m.id, m.sender, m.target, m.channel, m.subject, m.body, m.reply_to, m.thread_id, m.hop, m.claimable,
       m.lease_key, m.type, m.meta, m.created_at,
       l.holder AS claimed_by, l.claimed_at, l.expires_at AS claim_expires_at
FROM messages AS m
LEFT JOIN leases AS l ON l.key = m.lease_key;

-- seq grows with every arrival in any inbox; a re-offered message gets a new row and so a new seq.
CREATE TABLE inbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    agent_id TEXT NOT NULL,
    message_id INTEGER NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    -- 1: arrived after newer messages, so a cursor of message ids may stand beyond it
    late INTEGER NOT NULL,
    queued_at INTEGER NOT NULL,
    read_at INTEGER
) STRICT;
CREATE UNIQUE INDEX inbox_by_message ON inbox (message_id, agent_id);
CREATE INDEX inbox_by_agent ON inbox (agent_id, seq);
CREATE INDEX inbox_by_agent_message ON inbox (agent_id, message_id);
CREATE INDEX inbox_unread ON inbox (agent_id, seq) WHERE read_at IS NULL;
CREATE INDEX inbox_unread_by_message ON inbox (agent_id, message_id) WHERE read_at IS NULL;
CREATE INDEX inbox_late ON inbox (agent_id, message_id) WHERE late = 1 AND read_at IS NULL;
CREATE INDEX inbox_by_state ON inbox (agent_id, state, seq);

-- Reported rungs. accepted and queued stand as times in messages and inbox.
CREATE TABLE receipts (
    id INTEGER PRIMARY KEY,
    message_id INTEGER NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    agent_id TEXT NOT NULL,
    state TEXT NOT NULL,
    at INTEGER NOT NULL,
    evidence TEXT NOT NULL
) STRICT;
CREATE INDEX receipts_by_message ON receipts (message_id, agent_id, id);

-- Messages still looking for takers: parked (the first match ends it) or claimable (every match, until completed).
CREATE TABLE open_targets (
    target TEXT NOT NULL,
    message_id INTEGER NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('parked', 'claimable')),
    PRIMARY KEY (target, message_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX open_targets_by_message ON open_targets (message_id);

CREATE TABLE idempotency_keys (
    sender TEXT NOT NULL,
    key TEXT NOT NULL,
    content_hash TEXT NOT NULL,
    message_id INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (sender, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    type TEXT NOT NULL,
    at INTEGER NOT NULL,
    data TEXT NOT NULL
) STRICT;
