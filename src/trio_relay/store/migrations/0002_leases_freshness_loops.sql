-- Leases on named resources, freshness, the loop breaker, attested authority, full-text search.

-- resource: a lease taken by name; message: one that guards a claimable message (or the task behind it)
ALTER TABLE leases ADD COLUMN kind TEXT NOT NULL DEFAULT 'message';
CREATE INDEX leases_held_by_kind ON leases (kind, key) WHERE state = 'held';

ALTER TABLE messages ADD COLUMN authority TEXT NOT NULL DEFAULT 'peer';
ALTER TABLE messages ADD COLUMN expires_at INTEGER;
ALTER TABLE messages ADD COLUMN supersedes INTEGER;
ALTER TABLE messages ADD COLUMN collapse_key TEXT;
-- why it was withdrawn before everybody had it
ALTER TABLE messages ADD COLUMN withdrawn TEXT;
-- who sent the messages this one answers, oldest first: what the loop breaker looks at
ALTER TABLE messages ADD COLUMN path TEXT NOT NULL DEFAULT '[]';
CREATE INDEX messages_expiring ON messages (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX messages_by_collapse_key ON messages (sender, collapse_key, id) WHERE collapse_key IS NOT NULL;
CREATE INDEX inbox_dead ON inbox (message_id) WHERE state = 'dead';

DROP VIEW messages_with_claim;
CREATE VIEW messages_with_claim AS
SELECT m.id, m.sender, m.target, m.channel, m.subject, m.body, m.reply_to, m.thread_id, m.hop, m.path, m.claimable,
       m.lease_key, m.type, m.meta, m.created_at, m.authority, m.expires_at, m.supersedes, m.collapse_key, m.withdrawn,
       l.holder AS claimed_by, l.claimed_at, l.expires_at AS claim_expires_at
FROM messages AS m
LEFT JOIN leases AS l ON l.key = m.lease_key;

-- A thread that looks like a loop waits here for a person. hop_base: hops before a person let it go on.
CREATE TABLE threads (
    id INTEGER PRIMARY KEY,
    parked_at INTEGER,
    reason TEXT,
    hop_base INTEGER NOT NULL DEFAULT 0,
    resumed_at INTEGER
) STRICT;
CREATE INDEX threads_parked ON threads (parked_at) WHERE parked_at IS NOT NULL;

CREATE VIRTUAL TABLE messages_text USING fts5(subject, body, content = 'messages', content_rowid = 'id');
INSERT INTO messages_text (messages_text) VALUES ('rebuild');
CREATE TRIGGER messages_text_added AFTER INSERT ON messages BEGIN
    INSERT INTO messages_text (rowid, subject, body) VALUES (new.id, new.subject, new.body);
END;
CREATE TRIGGER messages_text_removed AFTER DELETE ON messages BEGIN
    INSERT INTO messages_text (messages_text, rowid, subject, body) VALUES ('delete', old.id, old.subject, old.body);
END;

-- Accepted in a parked thread: delivered when a person lets the thread go on.
CREATE TABLE held_messages (
    message_id INTEGER PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE,
    thread_id INTEGER NOT NULL
) STRICT;
CREATE INDEX held_messages_by_thread ON held_messages (thread_id, message_id);
