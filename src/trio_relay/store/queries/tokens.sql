-- name: insert_token(hash, name, agent_id, scopes, authority, now, expires_at)<!
-- A credential is minted.
INSERT INTO tokens (hash, name, agent_id, scopes, authority, created_at, expires_at)
VALUES (:hash, :name, :agent_id, :scopes, :authority, :now, :expires_at);

-- name: valid_token(hash, now)^
-- The credential behind a hash, if it still counts.
SELECT * FROM tokens WHERE hash = :hash AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > :now);

-- name: get_token(id)^
-- One credential.
SELECT * FROM tokens WHERE id = :id;

-- name: list_tokens()
-- Every credential, newest first.
SELECT * FROM tokens ORDER BY id DESC;

-- name: bind_token(id, agent_id)!
-- A credential gets its agent, once.
UPDATE tokens SET agent_id = :agent_id WHERE id = :id AND agent_id IS NULL;

-- name: revoke_token(id, now)!
-- A credential counts no more.
UPDATE tokens SET revoked_at = :now WHERE id = :id AND revoked_at IS NULL;

-- name: drop_dead_tokens(before)!
-- Credentials that ended long ago.
DELETE FROM tokens WHERE revoked_at < :before OR expires_at < :before;

-- name: insert_ticket(hash, agent_id, scopes, token_ttl, now, expires_at)!
-- Somebody is invited to join from another machine.
INSERT INTO tickets (hash, agent_id, scopes, token_ttl, created_at, expires_at)
VALUES (:hash, :agent_id, :scopes, :token_ttl, :now, :expires_at);

-- name: use_ticket(hash, now)!
-- Single use: compare and swap, and the row count is the verdict.
UPDATE tickets SET used_at = :now WHERE hash = :hash AND used_at IS NULL AND expires_at > :now;

-- name: get_ticket(hash)^
-- One ticket.
SELECT * FROM tickets WHERE hash = :hash;

-- name: drop_dead_tickets(before)!
-- Tickets past their time.
DELETE FROM tickets WHERE expires_at < :before;
