-- name: insert_inbox(agent_id, message_id, late, now)!
-- A message is queued for one recipient; a second offer of the same changes nothing.
INSERT INTO inbox (agent_id, message_id, state, late, queued_at)
VALUES (:agent_id, :message_id, 'queued', :late, :now)
ON CONFLICT (message_id, agent_id) DO NOTHING;

-- name: get_inbox(agent_id, message_id)^
-- One delivery.
SELECT * FROM inbox WHERE message_id = :message_id AND agent_id = :agent_id;

-- name: recipients(message_id)
-- Everyone a message was queued for, with what they are doing now.
SELECT i.*, a.status, a.ready FROM inbox AS i LEFT JOIN agents AS a ON a.id = i.agent_id
WHERE i.message_id = :message_id ORDER BY i.seq;

-- name: inbox_unread_after_seq(agent_id, after_seq, now, limit)
-- What has arrived since an arrival number and is neither read nor ended. Past its time only what was handed off:
-- whoever handed it off, or their successor, has to find out whether it arrived.
SELECT i.seq, i.state, i.attempts, i.read_at, m.* FROM inbox AS i JOIN messages_with_claim AS m ON m.id = i.message_id
WHERE i.agent_id = :agent_id AND i.read_at IS NULL AND (m.expires_at IS NULL OR m.expires_at > :now OR i.state <> 'queued') AND i.seq > :after_seq
ORDER BY i.seq LIMIT :limit;

-- name: inbox_after_seq(agent_id, after_seq, limit)
-- What has arrived since an arrival number, read or not.
SELECT i.seq, i.state, i.attempts, i.read_at, m.* FROM inbox AS i JOIN messages_with_claim AS m ON m.id = i.message_id
WHERE i.agent_id = :agent_id AND i.seq > :after_seq
ORDER BY i.seq LIMIT :limit;

-- name: inbox_unread_since_id(agent_id, since_id, now, limit)
-- For clients whose cursor is a message id: newer messages, and unread ones that arrived late.
SELECT i.message_id, i.seq, i.state, i.attempts, i.read_at, m.* FROM inbox AS i JOIN messages_with_claim AS m ON m.id = i.message_id
WHERE i.agent_id = :agent_id AND i.read_at IS NULL AND (m.expires_at IS NULL OR m.expires_at > :now OR i.state <> 'queued') AND i.message_id > :since_id
UNION ALL
SELECT i.message_id, i.seq, i.state, i.attempts, i.read_at, m.* FROM inbox AS i JOIN messages_with_claim AS m ON m.id = i.message_id
WHERE i.agent_id = :agent_id AND i.read_at IS NULL AND (m.expires_at IS NULL OR m.expires_at > :now OR i.state <> 'queued') AND i.late = 1 AND i.message_id <= :since_id
ORDER BY 1 LIMIT :limit;

-- name: inbox_since_id(agent_id, since_id, limit)
-- For clients whose cursor is a message id: newer messages, read or not, and unread ones that arrived late.
SELECT i.message_id, i.seq, i.state, i.attempts, i.read_at, m.* FROM inbox AS i JOIN messages_with_claim AS m ON m.id = i.message_id
WHERE i.agent_id = :agent_id AND i.message_id > :since_id
UNION ALL
SELECT i.message_id, i.seq, i.state, i.attempts, i.read_at, m.* FROM inbox AS i JOIN messages_with_claim AS m ON m.id = i.message_id
WHERE i.agent_id = :agent_id AND i.read_at IS NULL AND i.late = 1 AND i.message_id <= :since_id
ORDER BY 1 LIMIT :limit;

-- name: inbox_entry(agent_id, message_id)^
-- One delivery with its message.
SELECT i.seq, i.state, i.attempts, i.read_at, m.* FROM inbox AS i JOIN messages_with_claim AS m ON m.id = i.message_id
WHERE i.message_id = :message_id AND i.agent_id = :agent_id;

-- name: inbox_in_state(agent_id, state, after_seq, limit)
-- Deliveries that stand on one rung.
SELECT i.seq, i.state, i.attempts, i.read_at, m.* FROM inbox AS i JOIN messages_with_claim AS m ON m.id = i.message_id
WHERE i.agent_id = :agent_id AND i.state = :state AND i.seq > :after_seq
ORDER BY i.seq LIMIT :limit;

-- name: climb(agent_id, message_id, state, attempt, read_at)!
-- A delivery reaches a rung; attempt is 1 when this was a hand-off.
UPDATE inbox SET state = :state, attempts = attempts + :attempt, read_at = coalesce(read_at, :read_at)
WHERE message_id = :message_id AND agent_id = :agent_id;

-- name: mark_read(agent_id, message_id, now)!
-- Read, as far as this recipient is concerned.
UPDATE inbox SET read_at = coalesce(read_at, :now) WHERE message_id = :message_id AND agent_id = :agent_id;

-- name: insert_receipt(message_id, agent_id, state, now, evidence)!
-- One rung, when it was reached and what proves it.
INSERT INTO receipts (message_id, agent_id, state, at, evidence) VALUES (:message_id, :agent_id, :state, :now, :evidence);

-- name: hand_offs(message_id, agent_id)
-- What was said of each hand-off of a message to one recipient.
SELECT evidence FROM receipts WHERE message_id = :message_id AND agent_id = :agent_id AND state = 'handed_off';

-- name: receipts_of(message_id, agent_id)
-- Every rung written down of one delivery, in order.
SELECT state, at, evidence FROM receipts WHERE message_id = :message_id AND agent_id = :agent_id ORDER BY id;

-- name: open_deliveries_of(agent_id)
-- What an agent that leaves has not finished.
SELECT message_id FROM inbox WHERE agent_id = :agent_id AND state NOT IN ('settled', 'expired', 'retracted', 'dead');

-- name: open_deliveries_to(message_id)
-- Who has not finished with a message.
SELECT agent_id, state FROM inbox WHERE message_id = :message_id AND state NOT IN ('settled', 'expired', 'retracted', 'dead');

-- name: drop_inbox(agent_id, message_id)!
-- A row makes way for a newer offer of the same message.
DELETE FROM inbox WHERE message_id = :message_id AND agent_id = :agent_id;

-- name: reoffer_inbox(agent_id, message_id, attempts, now)!
-- A released claimable arrives again, with a new arrival number.
INSERT INTO inbox (agent_id, message_id, state, attempts, late, queued_at)
VALUES (:agent_id, :message_id, 'queued', :attempts, 1, :now);

-- name: dead_deliveries(message_id)
-- Recipients for whom a message ended as dead.
SELECT agent_id FROM inbox WHERE message_id = :message_id AND state = 'dead';

-- name: count_deliveries_by_state()
-- For the statistics.
SELECT state, count(*) AS n FROM inbox GROUP BY state;
