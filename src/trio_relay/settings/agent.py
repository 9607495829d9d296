"""Who an agent is and where its relay is."""

from dataclasses import dataclass

from trio_relay.core.model import Authority
from trio_relay.settings.table import Setting, comma_list


def authorities(text: str) -> tuple[Authority, ...]:
    """Parse a list of authorities; ``none`` is an empty one."""
    words = comma_list(text)
    if not words or (set(words) - set(Authority) and words != ("none",)):
        raise ValueError(f"some of {', '.join(Authority)}, or none")
    return tuple(Authority(word) for word in words if word != "none")


AGENT = (
    Setting("AGENT_RELAY_URL", "relay_url", "http://127.0.0.1:4850", str, "the relay"),
    Setting("AGENT_RELAY_TOKEN", "token", None, str, "sent as X-Agent-Relay-Token"),
    Setting("AGENT_RELAY_PROFILE", "profile", None, str, "name of the profile to use"),
    Setting(
        "AGENT_RELAY_PROFILES_FILE",
        "profiles_file",
        None,
        str,
        "profiles; default ~/.config/agent-relay/profiles.json",
    ),
    Setting("AGENT_RELAY_LABEL", "label", None, str, "label of this agent"),
    Setting("AGENT_RELAY_TAGS", "tags", (), comma_list, "tags, comma separated"),
    Setting(
        "AGENT_RELAY_CAPS", "capabilities", (), comma_list, "capabilities, comma separated; default chat"
    ),
    Setting(
        "AGENT_RELAY_CHANNELS",
        "channels",
        (),
        comma_list,
        "channels to listen to, comma separated; default all",
    ),
    Setting("AGENT_RELAY_APPROVAL", "approval", None, str, "open | guarded | read-only; default open"),
    Setting(
        "AGENT_RELAY_MAY_INTERRUPT",
        "may_interrupt",
        None,
        authorities,
        "whose messages may stop what the agent does: some of human, operator, peer, integration, or none; "
        "default the profile's, else human, operator",
    ),
)


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """Who this agent is and where its relay is."""

    relay_url: str = "http://127.0.0.1:4850"
    token: str | None = None
    profile: str | None = None
    profiles_file: str | None = None
    label: str | None = None
    tags: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    approval: str | None = None
    may_interrupt: tuple[Authority, ...] | None = None
