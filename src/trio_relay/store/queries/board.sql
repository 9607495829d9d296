-- name: agents_with_unread(limit)
-- Everyone by id, with how much waits in their inbox, counted up to a limit, and since when.
SELECT a.*,
       (SELECT count(*) FROM (SELECT 1 FROM inbox AS u WHERE u.agent_id = a.id AND u.read_at IS NULL LIMIT :limit) AS newest)
           AS unread,
       (SELECT o.queued_at FROM inbox AS o WHERE o.agent_id = a.id AND o.read_at IS NULL ORDER BY o.seq LIMIT 1)
           AS oldest_unread
FROM agents AS a ORDER BY a.id;

-- name: agent_with_unread(id, limit)^
-- One agent, with how much waits in its inbox, counted up to a limit, and since when.
SELECT a.*,
       (SELECT count(*) FROM (SELECT 1 FROM inbox AS u WHERE u.agent_id = a.id AND u.read_at IS NULL LIMIT :limit) AS newest)
           AS unread,
       (SELECT o.queued_at FROM inbox AS o WHERE o.agent_id = a.id AND o.read_at IS NULL ORDER BY o.seq LIMIT 1)
           AS oldest_unread
FROM agents AS a WHERE a.id = :id;

-- name: count_unread_of(agent_id, limit)^
-- How much waits in one inbox, counted up to a limit.
SELECT count(*) FROM (SELECT 1 FROM inbox WHERE agent_id = :agent_id AND read_at IS NULL LIMIT :limit) AS newest;

-- name: inbox_newest(agent_id, before, limit)
-- One inbox from its newest arrival backwards.
SELECT i.seq, i.state, i.attempts, i.read_at, m.* FROM inbox AS i JOIN messages_with_claim AS m ON m.id = i.message_id
WHERE i.agent_id = :agent_id AND i.seq < :before ORDER BY i.seq DESC LIMIT :limit;

-- name: inbox_newest_unread(agent_id, before, limit)
-- What is unread of one inbox, from the newest arrival backwards.
SELECT i.seq, i.state, i.attempts, i.read_at, m.* FROM inbox AS i JOIN messages_with_claim AS m ON m.id = i.message_id
WHERE i.agent_id = :agent_id AND i.read_at IS NULL AND i.seq < :before ORDER BY i.seq DESC LIMIT :limit;

-- name: parked_messages(limit)
-- Messages nobody has answered to yet, among so many that still look for takers, oldest first.
SELECT o.kind, m.* FROM (SELECT message_id, kind FROM open_targets ORDER BY message_id LIMIT :limit) AS o
JOIN messages_with_claim AS m ON m.id = o.message_id
WHERE NOT EXISTS (SELECT 1 FROM inbox AS i WHERE i.message_id = o.message_id)
ORDER BY m.id;
