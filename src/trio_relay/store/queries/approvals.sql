-- name: insert_approval(agent_id, key, tool, summary, detail, now, expires_at)<!
-- A program asks.
INSERT INTO approvals (agent_id, key, tool, summary, detail, created_at, expires_at)
VALUES (:agent_id, :key, :tool, :summary, :detail, :now, :expires_at);

-- name: get_approval(id)^
-- One question and its answer.
SELECT * FROM approvals WHERE id = :id;

-- name: approval_of_key(agent_id, key)^
-- What an agent has asked with a key.
SELECT * FROM approvals WHERE agent_id = :agent_id AND key = :key;

-- name: decide_approval(id, state, decided_by, reason, now)!
-- Compare and swap: the first answer to a question that still stands. The row count is the verdict.
UPDATE approvals SET state = :state, decided_by = :decided_by, reason = :reason, decided_at = :now
WHERE id = :id AND state = 'pending' AND expires_at > :now;

-- name: end_approval(id, state, decided_by, reason, now)!
-- Nobody is asked any more: it is withdrawn, or has run out.
UPDATE approvals SET state = :state, decided_by = :decided_by, reason = :reason, decided_at = :now
WHERE id = :id AND state = 'pending';

-- name: pending_approvals_of(agent_id)
-- What an agent has asked and nobody has answered.
SELECT id, agent_id, expires_at FROM approvals WHERE agent_id = :agent_id AND state = 'pending' ORDER BY id;

-- name: lapsed_approvals(now, limit)
-- What nobody has answered in time.
SELECT id, agent_id, expires_at FROM approvals WHERE state = 'pending' AND expires_at <= :now ORDER BY expires_at LIMIT :limit;

-- name: count_pending_approvals(limit)^
-- Questions that wait for a person, counted up to a limit.
SELECT count(*) FROM (SELECT 1 FROM approvals WHERE state = 'pending' LIMIT :limit) AS counted;

-- name: forget_approvals(before)!
-- Questions that were over before a time.
DELETE FROM approvals WHERE decided_at < :before;
