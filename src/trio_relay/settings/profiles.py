"""Where profiles are found: in the person's file, and among those that are shipped with us, which need no file."""

from dataclasses import dataclass
from pathlib import Path

from trio_relay.core.profiles import Profile, parse_profiles
from trio_relay.errors import Invalid
from trio_relay.settings.agent import AgentSettings

PROFILES_FILE = "~/.config/agent-relay/profiles.json"
_PACKAGE = Path(__file__).parents[1]
#: In a wheel they lie in the package, in a checkout at its top.
_SHIPPED = next(
    (place for place in (_PACKAGE / "profiles", _PACKAGE.parents[1] / "profiles") if place.is_dir()), None
)


@dataclass(frozen=True, slots=True)
class Named:
    """What came of looking for a profile: the profile, where it stands, and what is wrong, in words for people."""

    profile: Profile | None
    path: Path | None
    problems: tuple[str, ...] = ()


def profiles_path(settings: AgentSettings) -> Path:
    """Where the person's profiles are."""
    return Path(settings.profiles_file or PROFILES_FILE).expanduser()


def read_text(path: Path) -> str:
    """Read a profiles file. `Invalid` names it."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise Invalid(f"{path}: not UTF-8 text, at byte {error.start}") from None
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}") from None


def read_profiles(path: Path) -> dict[str, Profile]:
    """Read the profiles of a file. `Invalid` names it, and the line."""
    return parse_profiles(read_text(path), str(path))


def shipped_profiles() -> dict[str, tuple[Profile, Path]]:
    """Read the profiles that come with us, each with its file, by name."""
    found: dict[str, tuple[Profile, Path]] = {}
    if _SHIPPED is not None:
        for path in sorted(_SHIPPED.glob("*.json")):
            if path.name != "profile.schema.json":
                found |= {name: (profile, path) for name, profile in read_profiles(path).items()}
    return found


def find_profile(settings: AgentSettings) -> Named:
    """Find the profile that is named: in the person's file, else among the shipped ones.

    Whatever is wrong is said and raises nothing: an agent starts with what it has.
    """
    name, path = settings.profile, profiles_path(settings)
    if name is None:
        return Named(None, None)
    problems: list[str] = []
    own: dict[str, Profile] = {}
    where = str(path)
    if settings.profiles_file is None and not path.exists():
        where += " (which does not exist)"
    else:
        try:
            own = read_profiles(path)
        except Invalid as problem:
            problems.append(problem.detail)
        else:
            where += f" (which has: {', '.join(sorted(own)) or 'none'})"
    if name in own:
        return Named(own[name], path, tuple(problems))
    shipped = shipped_profiles()
    if name in shipped:
        return Named(*shipped[name], tuple(problems))
    problems.append(
        f"profile {name!r} is neither in {where} nor among those that are shipped: {', '.join(shipped)}"
    )
    return Named(None, None, tuple(problems))
