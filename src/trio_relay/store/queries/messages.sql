-- name: lease_message(id, lease_key)!
-- A claimable message is guarded by a lease.
UPDATE messages SET lease_key = :lease_key WHERE id = :id;

-- name: get_message(id)^
-- One message with its claim.
SELECT * FROM messages_with_claim WHERE id = :id;

-- name: message_of_lease(lease_key)^
-- The message a lease guards.
SELECT id, sender, target FROM messages WHERE lease_key = :lease_key;

-- name: thread_messages(thread_id)
-- A whole reply chain, oldest first.
SELECT * FROM messages_with_claim WHERE thread_id = :thread_id ORDER BY id;

-- name: delete_message(id)!
-- Removed from history, with its inbox rows and receipts.
DELETE FROM messages WHERE id = :id;

-- name: delete_lease(key)!
-- The guarded thing is gone.
DELETE FROM leases WHERE key = :key;

-- name: insert_open_target(target, message_id, kind)!
-- A message goes on looking for takers.
INSERT INTO open_targets (target, message_id, kind) VALUES (:target, :message_id, :kind);

-- name: open_targets_for(agent_id)
-- Messages still looking, for which this agent is a match; oldest first.
SELECT o.message_id, o.kind, o.target, m.sender, m.channel
FROM agent_selectors AS s
JOIN open_targets AS o ON o.target = s.selector
JOIN messages AS m ON m.id = o.message_id
WHERE s.agent_id = :agent_id
ORDER BY o.message_id;

-- name: close_open_target(message_id)!
-- A message has found its takers.
DELETE FROM open_targets WHERE message_id = :message_id;

-- name: is_parked(message_id)^
-- 1 while nobody has matched this message.
SELECT EXISTS (SELECT 1 FROM open_targets WHERE message_id = :message_id)
       AND NOT EXISTS (SELECT 1 FROM inbox WHERE message_id = :message_id);

-- name: count_parked()^
-- For the statistics.
SELECT count(*) FROM open_targets AS o WHERE NOT EXISTS (SELECT 1 FROM inbox AS i WHERE i.message_id = o.message_id);

-- name: count_messages()^
-- For the statistics.
SELECT count(*) FROM messages;

-- name: get_idempotency_key(sender, key)^
-- The message this sender's key stands for.
SELECT * FROM idempotency_keys WHERE sender = :sender AND key = :key;

-- name: put_idempotency_key(sender, key, content_hash, message_id, now)!
-- A key now stands for a message; an aged one is taken over.
INSERT INTO idempotency_keys (sender, key, content_hash, message_id, created_at)
VALUES (:sender, :key, :content_hash, :message_id, :now)
ON CONFLICT (sender, key) DO UPDATE
SET content_hash = excluded.content_hash, message_id = excluded.message_id, created_at = excluded.created_at;

-- name: drop_idempotency_keys(before)!
-- Keys past their day.
DELETE FROM idempotency_keys WHERE created_at < :before;

-- name: messages_to_forget(before, limit)
-- Old messages nobody is waiting for any more.
SELECT m.id, m.lease_key FROM messages AS m
WHERE m.created_at < :before
  AND NOT EXISTS (SELECT 1 FROM inbox AS i WHERE i.message_id = m.id AND i.read_at IS NULL)
  AND NOT EXISTS (SELECT 1 FROM open_targets AS o WHERE o.message_id = m.id)
  AND NOT EXISTS (SELECT 1 FROM held_messages AS h WHERE h.message_id = m.id)
ORDER BY m.created_at
LIMIT :limit;
