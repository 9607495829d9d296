-- name: talk_since(since, deliveries, pairs)
-- Who sent how much to whom, busiest first, among so many of the newest deliveries; beside each pair what all pairs
-- come to. The relay's own notices are no talk.
SELECT newest.sender, newest.recipient, count(*) AS messages, max(newest.created_at) AS last_at,
       count(*) OVER () AS all_pairs, sum(count(*)) OVER () AS all_messages, min(min(newest.created_at)) OVER () AS first_at
FROM (SELECT m.sender, i.agent_id AS recipient, m.created_at FROM messages AS m JOIN inbox AS i ON i.message_id = m.id
      WHERE m.created_at > :since AND m.sender <> 'system' ORDER BY m.created_at DESC LIMIT :deliveries) AS newest
GROUP BY newest.sender, newest.recipient
ORDER BY count(*) DESC, max(newest.created_at) DESC, newest.sender, newest.recipient LIMIT :pairs;

-- name: why_dead(message_id, limit)
-- For whom a message is dead, and what was written down about it.
SELECT i.agent_id, i.attempts, r.at, r.evidence FROM inbox AS i
LEFT JOIN receipts AS r ON r.id = (SELECT max(id) FROM receipts
    WHERE message_id = i.message_id AND agent_id = i.agent_id AND state = 'dead')
WHERE i.message_id = :message_id AND i.state = 'dead' ORDER BY i.agent_id LIMIT :limit;

-- name: callbacks_in_trouble(task_id)^
-- How many callbacks of a task were given up, and how many are being tried again.
SELECT coalesce(sum(CASE WHEN state = 'dead' THEN 1 ELSE 0 END), 0) AS dead,
       coalesce(sum(CASE WHEN state = 'waiting' AND attempts > 0 THEN 1 ELSE 0 END), 0) AS failing
FROM callbacks WHERE task_id = :task_id;

-- name: held_claims(now, limit)
-- Who works on which claimable message, and on which task by it; what ends first comes first.
SELECT l.key, l.holder, l.attempts, l.claimed_at, l.expires_at, m.id AS message_id, m.sender, m.target, m.subject,
       m.body, t.id AS task_id, t.title
FROM leases AS l JOIN messages AS m ON m.lease_key = l.key LEFT JOIN tasks AS t ON t.message_id = m.id
WHERE l.kind = 'message' AND l.state = 'held' AND l.expires_at > :now
ORDER BY l.expires_at LIMIT :limit;

-- name: count_dead(limit)^
-- Dead letters, counted up to a limit.
SELECT count(*) FROM (SELECT DISTINCT message_id FROM inbox WHERE state = 'dead' LIMIT :limit) AS newest;

-- name: count_parked_threads(limit)^
-- Threads that wait for a person, counted up to a limit.
SELECT count(*) FROM (SELECT 1 FROM threads WHERE parked_at IS NOT NULL LIMIT :limit) AS newest;
