-- name: insert_event(type, now, data)<!
-- One line of the event log, in the transaction of the change it tells.
INSERT INTO events (type, at, data) VALUES (:type, :now, :data);

-- name: events_after(after, limit)
-- The log, from one id on, also beyond the horizon.
SELECT id, type, at, data FROM events WHERE id > :after ORDER BY id LIMIT :limit;

-- name: event_parties(message_id, limit)
-- Whom a message concerns, beside its sender.
SELECT agent_id FROM inbox WHERE message_id = :message_id LIMIT :limit;

-- name: oldest_events(limit)
-- The tail of the log.
SELECT id, at FROM events ORDER BY id LIMIT :limit;

-- name: drop_events(up_to)!
-- The tail of the log goes.
DELETE FROM events WHERE id <= :up_to;

-- name: note_trimmed(up_to)!
-- Remember how far the log has gone.
UPDATE event_log SET trimmed_to = :up_to WHERE trimmed_to < :up_to;
