-- name: insert_task(source, type, severity, dedupe_key, title, body, target, channel, external_url, metadata, status, calls_back, now, ended_at)<!
-- An integration asks for work (or tells the end of something nobody was asked to do).
INSERT INTO tasks (source, type, severity, dedupe_key, title, body, target, channel, external_url, metadata, status,
                   calls_back, created_at, updated_at, last_seen_at, ended_at)
VALUES (:source, :type, :severity, :dedupe_key, :title, :body, :target, :channel, :external_url, :metadata, :status,
        :calls_back, :now, :now, :now, :ended_at);

-- name: set_task_message(id, message_id)!
-- The message that carries the task.
UPDATE tasks SET message_id = :message_id WHERE id = :id;

-- name: get_task(id)^
-- One task, with the end of its lease.
SELECT t.*, l.expires_at AS claim_expires_at FROM tasks AS t
LEFT JOIN messages AS m ON m.id = t.message_id LEFT JOIN leases AS l ON l.key = m.lease_key
WHERE t.id = :id;

-- name: task_of_message(message_id)^
-- The task a message carries.
SELECT * FROM tasks WHERE message_id = :message_id;

-- name: active_task(source, dedupe_key)^
-- The task that further events of the same thing are counted on.
SELECT id FROM tasks
WHERE source = :source AND dedupe_key = :dedupe_key AND status IN ('open', 'claimed', 'in_progress', 'blocked');

-- name: latest_task(source, dedupe_key)^
-- The newest task about a thing, active or not.
SELECT id FROM tasks WHERE source = :source AND dedupe_key = :dedupe_key ORDER BY id DESC LIMIT 1;

-- name: count_occurrence(id, now)!
-- The same thing happened again.
UPDATE tasks SET occurrence_count = occurrence_count + 1, last_seen_at = :now, updated_at = :now WHERE id = :id;

-- name: change_task(id, status, claimed_by, claimed_at, progress, result, now, ended_at)!
-- A task reaches a status, with what its holder says.
UPDATE tasks SET status = :status, claimed_by = :claimed_by, claimed_at = :claimed_at, progress = :progress,
                 result = :result, updated_at = :now, ended_at = :ended_at
WHERE id = :id;

-- name: newest_reply(message_id, sender)^
-- What an agent answered to a message.
SELECT r.id, r.body FROM messages AS m JOIN messages AS r ON r.thread_id = m.thread_id AND r.reply_to = m.id
WHERE m.id = :message_id AND r.sender = :sender
ORDER BY r.id DESC LIMIT 1;

-- name: insert_task_event(task_id, type, now, status, agent_id, data)!
-- One line of a task's history.
INSERT INTO task_events (task_id, type, at, status, agent_id, data)
VALUES (:task_id, :type, :now, :status, :agent_id, :data);

-- name: drop_oldest_repeat(task_id)!
-- The history of a thing that happens again and again stays bounded: the count knows them all.
DELETE FROM task_events
WHERE id = (SELECT id FROM task_events WHERE task_id = :task_id AND type = 'repeated' ORDER BY id LIMIT 1);

-- name: task_events_of(task_id, after, limit)
-- A task's history, oldest first.
SELECT * FROM task_events WHERE task_id = :task_id AND id > :after ORDER BY id LIMIT :limit;

-- name: forget_tasks(before, limit)!
-- Tasks that had ended before a time leave, with their events and callbacks.
DELETE FROM tasks WHERE id IN (SELECT id FROM tasks WHERE ended_at < :before ORDER BY ended_at LIMIT :limit);
