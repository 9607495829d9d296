-- name: inbox_unread_since_id(agent_id, since_id, now, limit)
-- For clients whose cursor is a message id: newer messages, and unread ones that arrived late. Each half is bounded,
-- because here the two are sorted when they have been put together.
(SELECT i.message_id, i.seq, i.state, i.attempts, i.read_at, m.* FROM inbox AS i JOIN messages_with_claim AS m ON m.id = i.message_id
 WHERE i.agent_id = :agent_id AND i.read_at IS NULL AND (m.expires_at IS NULL OR m.expires_at > :now OR i.state <> 'queued') AND i.message_id > :since_id
 ORDER BY 1 LIMIT :limit)
UNION ALL
(SELECT i.message_id, i.seq, i.state, i.attempts, i.read_at, m.* FROM inbox AS i JOIN messages_with_claim AS m ON m.id = i.message_id
 WHERE i.agent_id = :agent_id AND i.read_at IS NULL AND (m.expires_at IS NULL OR m.expires_at > :now OR i.state <> 'queued') AND i.late = 1 AND i.message_id <= :since_id
 ORDER BY 1 LIMIT :limit)
ORDER BY 1 LIMIT :limit;

-- name: inbox_since_id(agent_id, since_id, limit)
-- For clients whose cursor is a message id: newer messages, read or not, and unread ones that arrived late.
(SELECT i.message_id, i.seq, i.state, i.attempts, i.read_at, m.* FROM inbox AS i JOIN messages_with_claim AS m ON m.id = i.message_id
 WHERE i.agent_id = :agent_id AND i.message_id > :since_id
 ORDER BY 1 LIMIT :limit)
UNION ALL
(SELECT i.message_id, i.seq, i.state, i.attempts, i.read_at, m.* FROM inbox AS i JOIN messages_with_claim AS m ON m.id = i.message_id
 WHERE i.agent_id = :agent_id AND i.read_at IS NULL AND i.late = 1 AND i.message_id <= :since_id
 ORDER BY 1 LIMIT :limit)
ORDER BY 1 LIMIT :limit;
