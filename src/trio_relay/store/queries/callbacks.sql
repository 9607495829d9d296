-- name: insert_callback(delivery, task_id, source, event, body, now)!
-- Into the outbox, with the change it tells; due at once unless an older one of the same task still waits.
INSERT INTO callbacks (delivery, task_id, source, event, body, created_at, due_at)
SELECT :delivery, :task_id, :source, :event, :body, :now,
       CASE WHEN EXISTS (SELECT 1 FROM callbacks WHERE task_id = :task_id AND state = 'waiting') THEN NULL ELSE :now END;

-- name: next_callback(source)^
-- The callback of a source that is due first.
SELECT * FROM callbacks WHERE source = :source AND state = 'waiting' AND due_at IS NOT NULL
ORDER BY due_at, id LIMIT 1;

-- name: insert_callback_attempt(callback_id, at, status, error, duration_ms)!
-- One attempt and how it went.
INSERT INTO callback_attempts (callback_id, at, status, error, duration_ms)
VALUES (:callback_id, :at, :status, :error, :duration_ms);

-- name: get_callback(id)^
-- One callback.
SELECT * FROM callbacks WHERE id = :id;

-- name: put_off_callback(id, due_at)!
-- It failed and will be tried again.
UPDATE callbacks SET attempts = attempts + 1, due_at = :due_at WHERE id = :id AND state = 'waiting';

-- name: end_callback(id, state, now)!
-- It is delivered, or dead.
UPDATE callbacks SET attempts = attempts + 1, state = :state, due_at = NULL, ended_at = :now
WHERE id = :id AND state = 'waiting';

-- name: free_next_callback(task_id, now)!
-- The next one of the same task need not wait any longer.
UPDATE callbacks SET due_at = :now
WHERE id = (SELECT min(id) FROM callbacks WHERE task_id = :task_id AND state = 'waiting') AND due_at IS NULL;

-- name: callbacks_of(task_id)
-- Every callback about a task, oldest first.
SELECT * FROM callbacks WHERE task_id = :task_id ORDER BY id;

-- name: callback_attempts_of(task_id)
-- Every attempt at every callback about a task.
SELECT a.* FROM callbacks AS c JOIN callback_attempts AS a ON a.callback_id = c.id
WHERE c.task_id = :task_id ORDER BY a.id;
