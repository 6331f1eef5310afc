"""The people whom the stand-in hub knows, by their groups."""

GROUPS = {
    "ada": ["vessl:acme:admin"],
    "max": ["vessl:acme:vision:manager"],
    "mia": ["vessl:acme:vision:member", "vessl:acme:speech:member"],
    "tom": ["vessl:acme:speech:member"],
    "vic": ["vessl:acme:speech:viewer"],
    "zoe": [],
}
