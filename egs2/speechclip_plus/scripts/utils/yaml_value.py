"""Print one value of a YAML file: yaml_value.py FILE key.inner_key.0 [DEFAULT]."""

import sys

import yaml


def main() -> None:
    path, keys = sys.argv[1:3]
    default = sys.argv[3] if len(sys.argv) > 3 else ""
    try:
        with open(path, encoding="utf-8") as stream:
            value = yaml.safe_load(stream)
    except (OSError, yaml.YAMLError) as error:
        sys.exit(f"{path}: cannot be read: {error}")
    for key in keys.split("."):
        if isinstance(value, list) and key.isdigit():
            value = dict(enumerate(value)).get(int(key))
        else:
            value = value.get(key) if isinstance(value, dict) else None
    print(default if value is None else value)


if __name__ == "__main__":
    main()
