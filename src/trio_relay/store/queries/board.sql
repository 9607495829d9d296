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

-- name: dead_in_inboxes(limit)
-- The newest messages that were given up for somebody.
SELECT m.* FROM (SELECT DISTINCT message_id FROM inbox WHERE state = 'dead' ORDER BY message_id DESC LIMIT :limit) AS newest
JOIN messages_with_claim AS m ON m.id = newest.message_id ORDER BY m.id DESC;

-- name: thread_before(thread_id, before, limit)
-- The end of a reply chain, or what comes before a message of it, newest first.
SELECT * FROM messages_with_claim WHERE thread_id = :thread_id AND id < :before ORDER BY id DESC LIMIT :limit;

-- name: thread_after(thread_id, after, limit)
-- What a reply chain has beyond a message, oldest first.
SELECT * FROM messages_with_claim WHERE thread_id = :thread_id AND id > :after ORDER BY id LIMIT :limit;

-- name: recipients_after(message_id, after, limit)
-- Some of those a message was queued for, by their ids.
SELECT * FROM inbox WHERE message_id = :message_id AND agent_id > :after ORDER BY agent_id LIMIT :limit;

-- name: count_conditions(mailbox)
-- How many agents are in which condition; mailboxes are no agents.
SELECT status, ready, count(*) AS n FROM agents WHERE rig <> :mailbox GROUP BY status, ready;

-- name: agents_there(mailbox, limit)
-- Some of those who are not offline, by id.
SELECT * FROM agents WHERE status <> 'offline' AND rig <> :mailbox ORDER BY id LIMIT :limit;

-- name: agents_in_trouble(mailbox, many, limit)
-- Some of those whom messages do not reach: offline while messages wait, or there and not ready. Each with how
-- much waits, counted up to a limit, and since when.
SELECT a.*,
       (SELECT count(*) FROM (SELECT 1 FROM inbox AS u WHERE u.agent_id = a.id AND u.read_at IS NULL LIMIT :many) AS newest)
           AS unread,
       (SELECT o.queued_at FROM inbox AS o WHERE o.agent_id = a.id AND o.read_at IS NULL ORDER BY o.seq LIMIT 1)
           AS oldest_unread
FROM agents AS a
WHERE a.rig <> :mailbox
  AND (a.status <> 'offline' AND a.ready = 0
       OR a.status = 'offline' AND EXISTS (SELECT 1 FROM inbox AS w WHERE w.agent_id = a.id AND w.read_at IS NULL))
ORDER BY a.id LIMIT :limit;

-- name: newcomers(after, limit)
-- Who has come into the room after a time.
SELECT id FROM agents WHERE created_at > :after ORDER BY id LIMIT :limit;

-- name: labels(limit)
-- What agents are called.
SELECT id, label FROM agents WHERE label IS NOT NULL LIMIT :limit;
