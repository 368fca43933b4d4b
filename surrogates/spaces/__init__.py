"""Search spaces: their architectures, how they are written, and which lie next to each other; no scores."""

from surrogates.registry import Registry
from surrogates.space import Space

spaces = Registry(Space, "surrogates.spaces", "nascent.spaces")
