-- name: held_resources(now)
-- Resource leases that are held and have not run out.
SELECT * FROM leases WHERE kind = 'resource' AND state = 'held' AND expires_at > :now ORDER BY key;

-- name: ensure_resource(key)!
-- A resource is known from the first time somebody wants it.
INSERT INTO leases (key, kind, state) VALUES (:key, 'resource', 'open') ON CONFLICT (key) DO NOTHING;
