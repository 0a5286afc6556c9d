"""YAML as settings use it: plain values, no name twice, nothing that hangs or fills memory."""

from typing import Any

import yaml

from glowkit.core.reading import check_plain


class _Loader(yaml.SafeLoader):
    """Refuses a name given twice, of which YAML's own loaders take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(set(names)) < len(names):
            raise yaml.constructor.ConstructorError(None, None, "a name is given twice")
        return super().construct_mapping(node, deep)


def parse_yaml(text: str) -> Any:
    """The value of a YAML text, made of text, numbers, lists and names alone.

    Raises ValueError, in one line, for what is no YAML, holds other objects, gives a name twice, or
    holds more, directly or by references, than settings do.

    >>> parse_yaml("steps: 8")
    {'steps': 8}
    """
    try:
        found = yaml.load(text, _Loader)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    except (yaml.YAMLError, ValueError, LookupError, AttributeError) as error:
        # PyYAML lets through what its conversions of numbers and dates stumble over.
        raise ValueError(" ".join(str(error).split())[:200] or "it is no YAML") from error
    check_plain(found)
    return found
