-- Pairs of agents, tasks asked for by integrations, and the outbox of their callbacks.

CREATE TABLE pairs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    inviter TEXT NOT NULL,
    invitee TEXT NOT NULL,
    target TEXT NOT NULL,
    objective TEXT,
    status TEXT NOT NULL CHECK (status IN ('pending', 'active', 'rejected', 'expired', 'ended')),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    accepted_at INTEGER,
    ended_at INTEGER,
    ended_by TEXT,
    end_reason TEXT,
    message_id INTEGER REFERENCES messages (id) ON DELETE SET NULL
) STRICT;
CREATE INDEX pairs_by_inviter ON pairs (inviter, id);
CREATE INDEX pairs_by_invitee ON pairs (invitee, id);
CREATE INDEX pairs_pending ON pairs (expires_at) WHERE status = 'pending';
CREATE INDEX pairs_over ON pairs (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX pairs_by_message ON pairs (message_id) WHERE message_id IS NOT NULL;

-- Who is taken: one row a member of a pending or active pair. The key is what makes pairs exclusive.
CREATE TABLE pair_members (
    agent_id TEXT PRIMARY KEY,
    pair_id INTEGER NOT NULL REFERENCES pairs (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX pair_members_by_pair ON pair_members (pair_id);

CREATE TABLE tasks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL,
    type TEXT NOT NULL,
    severity TEXT NOT NULL,
    dedupe_key TEXT,
    title TEXT NOT NULL,
    body TEXT NOT NULL,
    target TEXT NOT NULL,
    channel TEXT,
    external_url TEXT,
    metadata TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('open', 'claimed', 'in_progress', 'blocked', 'done', 'failed', 'canceled')),
    occurrence_count INTEGER NOT NULL DEFAULT 1,
    -- the message whose lease guards the task; gone once the message has left the history
    message_id INTEGER REFERENCES messages (id) ON DELETE SET NULL,
    -- the lease's holder, kept here as well because a task outlives its message
    claimed_by TEXT,
    claimed_at INTEGER,
    progress TEXT NOT NULL DEFAULT 'null',
    result TEXT NOT NULL DEFAULT 'null',
    -- 1: every change is also told to the source's callback URL
    calls_back INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    ended_at INTEGER
) STRICT;
CREATE UNIQUE INDEX tasks_active_by_key ON tasks (source, dedupe_key)
WHERE dedupe_key IS NOT NULL AND status IN ('open', 'claimed', 'in_progress', 'blocked');
CREATE INDEX tasks_by_key ON tasks (source, dedupe_key, id) WHERE dedupe_key IS NOT NULL;
CREATE UNIQUE INDEX tasks_by_message ON tasks (message_id) WHERE message_id IS NOT NULL;
CREATE INDEX tasks_by_status ON tasks (status, id);
CREATE INDEX tasks_by_source ON tasks (source, id);
CREATE INDEX tasks_by_target ON tasks (target, id);
CREATE INDEX tasks_over ON tasks (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE task_events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    task_id INTEGER NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    type TEXT NOT NULL,
    at INTEGER NOT NULL,
    status TEXT NOT NULL,
    agent_id TEXT,
    data TEXT NOT NULL
) STRICT;
CREATE INDEX task_events_by_task ON task_events (task_id, id);
CREATE INDEX task_events_repeated ON task_events (task_id, id) WHERE type = 'repeated';

-- The outbox: written with the change it tells. due_at is NULL while an older one of the same task still waits.
CREATE TABLE callbacks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    delivery TEXT NOT NULL UNIQUE,
    task_id INTEGER NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    source TEXT NOT NULL,
    event TEXT NOT NULL,
    body TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'dead')),
    attempts INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    due_at INTEGER,
    ended_at INTEGER
) STRICT;
CREATE INDEX callbacks_by_task ON callbacks (task_id, id);
CREATE INDEX callbacks_waiting ON callbacks (task_id, id) WHERE state = 'waiting';
CREATE INDEX callbacks_due ON callbacks (source, due_at, id) WHERE state = 'waiting' AND due_at IS NOT NULL;

CREATE TABLE callback_attempts (
    id INTEGER PRIMARY KEY,
    callback_id INTEGER NOT NULL REFERENCES callbacks (id) ON DELETE CASCADE,
    at INTEGER NOT NULL,
    status INTEGER,
    error TEXT,
    duration_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX callback_attempts_by_callback ON callback_attempts (callback_id, id);
