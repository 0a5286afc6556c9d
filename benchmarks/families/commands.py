"""Which commands refuse which models, and in what words; a test holds the commands against it."""

COMMANDS = ()
REFUSALS: dict[str, dict[str, str]] = {}
