-- name: get_agent(id)^
-- One agent.
SELECT * FROM agents WHERE id = :id;

-- name: insert_agent(id, name, label, machine, rig, tags, capabilities, channels, status, ready, instance_id, epoch, meta, now)!
-- A new agent enters the room.
INSERT INTO agents (id, name, label, machine, rig, tags, capabilities, channels, status, ready, instance_id, epoch,
                    meta, created_at, updated_at, last_seen)
VALUES (:id, :name, :label, :machine, :rig, :tags, :capabilities, :channels, :status, :ready, :instance_id, :epoch,
        :meta, :now, :now, :now);

-- name: reregister_agent(id, name, label, machine, rig, tags, capabilities, channels, status, ready, instance_id, epoch, identified_at, meta, now)!
-- The same id registers again; a new instance has raised the epoch.
UPDATE agents
SET name = :name, label = :label, machine = :machine, rig = :rig, tags = :tags, capabilities = :capabilities,
    channels = :channels, status = :status, ready = :ready, ready_reason = NULL, instance_id = :instance_id,
    epoch = :epoch, identified_at = :identified_at, meta = :meta, updated_at = :now, last_seen = :now
WHERE id = :id;

-- name: touch_agent(id, now)!
-- Heard from: a heartbeat that does not say which instance it comes from.
UPDATE agents SET last_seen = :now WHERE id = :id;

-- name: identify_agent(id, now)!
-- Heard from its registered instance.
UPDATE agents SET last_seen = :now, identified_at = :now WHERE id = :id;

-- name: set_agent_status(id, status, now)!
-- The agent says what it is doing.
UPDATE agents SET status = :status, updated_at = :now, last_seen = :now WHERE id = :id;

-- name: set_agent_ready(id, ready, reason, now)!
-- The agent says whether it can take a message, and why not.
UPDATE agents SET ready = :ready, ready_reason = :reason, updated_at = :now, last_seen = :now WHERE id = :id;

-- name: set_agent_label(id, label, now)!
-- A person or the agent itself changes the label.
UPDATE agents SET label = :label, updated_at = :now WHERE id = :id;

-- name: set_agent_tags(id, tags, now)!
-- A person or the agent itself changes the tags.
UPDATE agents SET tags = :tags, updated_at = :now WHERE id = :id;

-- name: silence_agent(id, now)!
-- Not heard from for too long: offline. What it last said of its readiness holds again when it is back.
UPDATE agents SET status = 'offline', updated_at = :now WHERE id = :id;

-- name: delete_agent(id)!
-- The agent leaves the room.
DELETE FROM agents WHERE id = :id;

-- name: list_agents()
-- Everyone, by id.
SELECT * FROM agents ORDER BY id;

-- name: list_agents_matching(selector)
-- Everyone who answers to one selector, by id.
SELECT a.* FROM agent_selectors AS s JOIN agents AS a ON a.id = s.agent_id WHERE s.selector = :selector ORDER BY a.id;

-- name: clear_selectors(agent_id)!
-- Before the addresses of an agent are written anew.
DELETE FROM agent_selectors WHERE agent_id = :agent_id;

-- name: insert_selector(selector, agent_id)!
-- One address an agent answers to.
INSERT INTO agent_selectors (selector, agent_id) VALUES (:selector, :agent_id);

-- name: stale_agents(before, limit)
-- Agents not heard from since a time, and not yet offline.
SELECT id FROM agents WHERE status IN ('online', 'idle', 'busy') AND last_seen < :before ORDER BY last_seen LIMIT :limit;

-- name: forgotten_agents(before, limit)
-- Agents found offline before a time: what they last did may lie long before, when the relay itself was away.
SELECT id FROM agents WHERE status = 'offline' AND last_seen < :before AND updated_at < :before
ORDER BY last_seen LIMIT :limit;

-- name: count_agents_by_status()
-- For the statistics.
SELECT status, count(*) AS n FROM agents GROUP BY status;
