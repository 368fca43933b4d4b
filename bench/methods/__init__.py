"""Search methods, one file each."""

from bench.method import Method
from surrogates.registry import Registry

methods = Registry(Method, "bench.methods", "nascent.methods")
