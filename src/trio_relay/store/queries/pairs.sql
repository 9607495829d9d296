-- name: insert_pair(inviter, invitee, target, objective, now, expires_at)<!
-- One agent invites another.
INSERT INTO pairs (inviter, invitee, target, objective, status, created_at, expires_at)
VALUES (:inviter, :invitee, :target, :objective, 'pending', :now, :expires_at);

-- name: take_pair_member(agent_id, pair_id)!
-- An agent is taken. The row count is the verdict: 0 when another pair has it.
INSERT INTO pair_members (agent_id, pair_id) VALUES (:agent_id, :pair_id) ON CONFLICT (agent_id) DO NOTHING;

-- name: free_pair_members(pair_id)!
-- Both are free again.
DELETE FROM pair_members WHERE pair_id = :pair_id;

-- name: pair_of_agent(agent_id)^
-- The pending or active pair an agent is in.
SELECT p.* FROM pair_members AS m JOIN pairs AS p ON p.id = m.pair_id WHERE m.agent_id = :agent_id;

-- name: set_invite_message(id, message_id)!
-- The message that carried the invitation.
UPDATE pairs SET message_id = :message_id WHERE id = :id;

-- name: get_pair(id)^
-- One pair.
SELECT * FROM pairs WHERE id = :id;

-- name: accept_pair(id, now)!
-- Compare and swap: an invitation that still stands becomes a pair.
UPDATE pairs SET status = 'active', accepted_at = :now WHERE id = :id AND status = 'pending' AND expires_at > :now;

-- name: end_pair(id, status, ended_by, end_reason, now)!
-- A pending or active pair is over.
UPDATE pairs SET status = :status, ended_at = :now, ended_by = :ended_by, end_reason = :end_reason
WHERE id = :id AND status IN ('pending', 'active');

-- name: lapsed_invites(now, limit)
-- Invitations nobody has answered in time.
SELECT * FROM pairs WHERE status = 'pending' AND expires_at <= :now ORDER BY expires_at LIMIT :limit;

-- name: list_pairs(before, limit)
-- Every pair, newest first.
SELECT * FROM pairs WHERE id < :before ORDER BY id DESC LIMIT :limit;

-- name: list_pairs_of(agent_id, before, limit)
-- The pairs an agent is or was in, newest first.
SELECT * FROM pairs WHERE inviter = :agent_id AND id < :before
UNION
SELECT * FROM pairs WHERE invitee = :agent_id AND id < :before
ORDER BY id DESC LIMIT :limit;

-- name: forget_pairs(before)!
-- Pairs that were over before a time.
DELETE FROM pairs WHERE ended_at < :before;
