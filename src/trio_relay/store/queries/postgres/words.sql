-- name: agents_of_provider(provider)
-- Who is not offline and runs under a provider's program: its rig or client is that word, or that word and a dash.
SELECT * FROM agents
WHERE status IN ('online', 'idle', 'busy')
  AND (lower(rig) = :provider OR starts_with(lower(rig), :provider || '-')
       OR lower(json_field(meta, 'client')) = :provider
       OR starts_with(lower(json_field(meta, 'client')), :provider || '-'))
ORDER BY id;

-- name: search_messages(words, before, limit)
-- Full text, newest first.
SELECT m.* FROM messages AS t JOIN messages_with_claim AS m ON m.id = t.id
WHERE t.words @@ :words::tsquery AND t.id < :before
ORDER BY t.id DESC LIMIT :limit;

-- name: events_about(message_id)
-- The log lines about one message.
SELECT id, type, at, data FROM events WHERE json_field(data, 'messageId') = :message_id::text ORDER BY id LIMIT 200;
