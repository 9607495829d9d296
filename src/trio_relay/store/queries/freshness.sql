-- name: withdraw_message(id, reason)!
-- A message is withdrawn from whoever does not have it yet; the first reason stays.
UPDATE messages SET withdrawn = coalesce(withdrawn, :reason) WHERE id = :id;

-- name: expired_messages(now, limit)
-- Messages past their time that somebody still waits for.
SELECT m.id, m.sender, m.target, m.thread_id FROM messages AS m
WHERE m.expires_at <= :now AND m.withdrawn IS NULL
ORDER BY m.expires_at LIMIT :limit;

-- name: collapsible(agent_id, sender, collapse_key, before)
-- Older messages of one collapse key that still wait in one inbox.
SELECT m.id FROM messages AS m
JOIN inbox AS i ON i.message_id = m.id AND i.agent_id = :agent_id
WHERE m.sender = :sender AND m.collapse_key = :collapse_key AND m.id < :before AND i.state = 'queued';

-- name: newer_of_key(agent_id, sender, collapse_key, after)^
-- The first message that took the place of an older one of its key in one inbox.
SELECT m.id FROM messages AS m
JOIN inbox AS i ON i.message_id = m.id AND i.agent_id = :agent_id
WHERE m.sender = :sender AND m.collapse_key = :collapse_key AND m.id > :after ORDER BY m.id LIMIT 1;

-- name: get_thread(id)^
-- What the loop breaker has written down about a thread.
SELECT * FROM threads WHERE id = :id;

-- name: park_thread(id, reason, now)!
-- A thread waits for a person.
INSERT INTO threads (id, parked_at, reason) VALUES (:id, :now, :reason)
ON CONFLICT (id) DO UPDATE SET parked_at = :now, reason = :reason;

-- name: resume_thread(id, hop_base, now)!
-- A person lets a thread go on; its hops count from here.
UPDATE threads SET parked_at = NULL, reason = NULL, hop_base = :hop_base, resumed_at = :now
WHERE id = :id AND parked_at IS NOT NULL;

-- name: parked_threads(limit)
-- Threads that wait for a person, longest first.
SELECT * FROM threads WHERE parked_at IS NOT NULL ORDER BY parked_at LIMIT :limit;

-- name: deepest_hop(thread_id)^
-- How deep a thread is.
SELECT coalesce(max(hop), 0) FROM messages WHERE thread_id = :thread_id;

-- name: recent_in_thread(thread_id, since, limit)^
-- How many of the newest messages of a thread are younger than a time.
SELECT count(*) FROM (SELECT created_at FROM messages WHERE thread_id = :thread_id ORDER BY id DESC LIMIT :limit) AS newest
WHERE created_at > :since;

-- name: participants(thread_id)
-- Who has written in a thread.
SELECT DISTINCT sender FROM messages WHERE thread_id = :thread_id ORDER BY sender;

-- name: hold_message(message_id, thread_id)!
-- Accepted, and kept until its thread goes on.
INSERT INTO held_messages (message_id, thread_id) VALUES (:message_id, :thread_id);

-- name: held_in_thread(thread_id)
-- What waits in a parked thread, oldest first.
SELECT message_id FROM held_messages WHERE thread_id = :thread_id ORDER BY message_id;

-- name: let_go(message_id)!
-- A held message goes its way.
DELETE FROM held_messages WHERE message_id = :message_id;

-- name: is_held(message_id)^
-- Whether a message waits in a parked thread.
SELECT 1 FROM held_messages WHERE message_id = :message_id;

-- name: dead_messages(before, limit)
-- Dead letters, newest first: given up for a recipient, or claimed too often. (The bounds of the key are those of
-- messages; by them the leases are found in their index.)
SELECT m.* FROM messages_with_claim AS m
WHERE m.id IN (
    SELECT message_id FROM (SELECT DISTINCT i.message_id FROM inbox AS i WHERE i.state = 'dead' AND i.message_id < :before
                            ORDER BY i.message_id DESC LIMIT :limit) AS newest
    UNION
    SELECT d.id FROM leases AS l CROSS JOIN messages AS d
    WHERE l.state = 'dead' AND l.key > 'message:' AND l.key < 'message;' AND d.lease_key = l.key AND d.id < :before)
ORDER BY m.id DESC LIMIT :limit;
