# Sourced by the connectors beside it: posts one event to the relay.
#
#   AGENT_RELAY_URL                    the relay; default http://127.0.0.1:4850
#   AGENT_RELAY_CONNECTOR_TOKEN        token of the integration, or
#   AGENT_RELAY_CONNECTOR_TOKEN_FILE   a file that holds it

# json TEXT: TEXT as a JSON string.
json() {
    printf '"'
    printf '%s' "$1" | tr -d '\000-\010\013-\037\177' | sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e "s/$(printf '\t')/\\\\t/g" |
        awk 'NR > 1 { printf "\\n" } { printf "%s", $0 }'
    printf '"'
}

# post_event JSON: exits with curl's code when the relay did not take it. Tries for about a minute.
post_event() {
    token=${AGENT_RELAY_CONNECTOR_TOKEN:-}
    if [ -z "$token" ] && [ -n "${AGENT_RELAY_CONNECTOR_TOKEN_FILE:-}" ]; then
        token=$(cat "$AGENT_RELAY_CONNECTOR_TOKEN_FILE")
    fi
    if [ -z "$token" ]; then
        echo "${0##*/}: the integration's token is missing: AGENT_RELAY_CONNECTOR_TOKEN" >&2
        return 2
    fi
    # The token goes in by a file descriptor: who lists processes does not see it.
    printf 'header = "Authorization: Bearer %s"\n' "$token" |
        curl --config - --silent --show-error --fail-with-body --max-time 90 \
            --retry 6 --retry-max-time 60 --retry-connrefused \
            --header 'Content-Type: application/json' --data-binary "$1" \
            "${AGENT_RELAY_URL:-http://127.0.0.1:4850}/api/integrations/events"
}
