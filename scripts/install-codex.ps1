# Installs trio-relay with uv if you have it, else pipx, else pip, and puts codex-relay into your home.
# Set AGENT_RELAY_CODEX_ALIAS=1 to have `codex` start codex-relay. What else you give is given to
# `trio-relay install codex` (docs/cli.md).
#
# trio-relay is developed on Linux, and codex-relay needs a POSIX system: on Windows, use this inside WSL with
# PowerShell for Linux, or scripts/install-codex.sh there. It is kept for those who call it by this name.
$ErrorActionPreference = "Stop"

if ($IsWindows -or $env:OS -eq "Windows_NT") {
    throw "codex-relay does not run on Windows itself yet. Use it inside WSL: sh scripts/install-codex.sh"
}

$checkout = Split-Path -Parent $PSScriptRoot
$package = "trio-relay"
if ($env:TRIO_RELAY_SOURCE) {
    $package = $env:TRIO_RELAY_SOURCE
} elseif ($checkout -and (Test-Path (Join-Path $checkout "pyproject.toml"))) {
    $package = $checkout
}

function Invoke-Checked([string] $Program, [string[]] $Arguments) {
    & $Program @Arguments
    if ($LASTEXITCODE -ne 0) { throw "$Program failed with exit code $LASTEXITCODE" }
}

if (Get-Command uv -ErrorAction SilentlyContinue) {
    Invoke-Checked uv @("tool", "install", "--quiet", "--force", "--python", ">=3.11", $package)
    $programs = (uv tool dir --bin)
} elseif (Get-Command pipx -ErrorAction SilentlyContinue) {
    Invoke-Checked pipx @("install", "--quiet", "--force", $package)
    $programs = (pipx environment --value PIPX_BIN_DIR)
} else {
    $data = if ($env:XDG_DATA_HOME) { $env:XDG_DATA_HOME } else { Join-Path $HOME ".local/share" }
    $environment = Join-Path $data "trio-relay/venv"
    Invoke-Checked python3 @("-m", "venv", $environment)
    $programs = Join-Path $environment "bin"
    Invoke-Checked (Join-Path $programs "python") @("-m", "pip", "install", "-qq", "--upgrade", $package)
}
Invoke-Checked (Join-Path $programs "trio-relay") (@("install", "codex") + $args)
