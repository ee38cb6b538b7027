"""Debian's packages that a project's own may need: for a preview, which warns, and for a Droplet, which knows why."""

import re

# What is compiled when it is installed, and of what. Others have no wheel, but need no compiler either.
_BUILD = ("build-essential", "python3-dev")
COMPILED = {
    "psycopg2": (*_BUILD, "libpq-dev"),
    "psycopg-c": (*_BUILD, "libpq-dev"),
    "mysqlclient": (*_BUILD, "pkg-config", "default-libmysqlclient-dev"),
    "pycairo": (*_BUILD, "pkg-config", "libcairo2-dev"),
    "pygraphviz": (*_BUILD, "libgraphviz-dev"),
    "pygobject": (*_BUILD, "pkg-config", "libgirepository-2.0-dev", "libcairo2-dev"),
    "python-ldap": (*_BUILD, "libldap2-dev", "libsasl2-dev"),
    "uwsgi": _BUILD,
}

_NOT_BUILT = re.compile(r"Failed to (?:download and )?build `([A-Za-z0-9._-]+)")
# How builds say that something of Debian's is not there: compilers, Setuptools, Meson, and what they call.
_COMPILER = r"command '\S*(?:gcc|g\+\+|cc|c\+\+|clang)' failed: No such file|(?i:unknown compiler|need a C compiler)"
_PKG_CONFIG = r"(?i:No such file or directory: 'pkg-config|pkg-config: (?:command )?not found|Did not find pkg-config)"
_LACKS = re.compile(
    rf"{_COMPILER}|{_PKG_CONFIG}|fatal error: \S+: No such file|pg_config executable not found"
    r"|Can not find valid pkg-config name|No package '\S+' found|Package \S+ was not found|Dependency .+ not found"
)
# By what a program says, the first that fits.
_FOR_WORDS = (
    (re.compile(r"Git executable not found"), "git"),
    (re.compile(r"pg_config executable not found"), "libpq-dev"),
    (re.compile(_COMPILER), _BUILD[0]),
    (re.compile(_PKG_CONFIG), "pkg-config"),
    (re.compile(r"libpq library not found"), "libpq5"),
    (re.compile(r"failed to find libmagic"), "libmagic1t64"),
    (re.compile(r"Could not find the (?:GDAL|GEOS) library"), "gdal-bin"),
)
_WEASYPRINT = "libpangoft2-1.0-0, libharfbuzz-subset0"  # all that it loads, one after the other
# By the file that it names; of one that is not here it is said where to look for it.
_FILES = (
    (re.compile(r"fatal error: (\S+\.h\w*): No such file"), {
        "Python.h": "python3-dev",
        "libpq-fe.h": "libpq-dev",
        "ffi.h": "libffi-dev",
        "jpeglib.h": "libjpeg-dev",
        "lber.h": "libldap2-dev",
        "ldap.h": "libldap2-dev",
        "magic.h": "libmagic-dev",
        "mysql.h": "default-libmysqlclient-dev",
        "sasl/sasl.h": "libsasl2-dev",
        "zlib.h": "zlib1g-dev",
    }),
    (re.compile(r"([\w.+-]+\.so[.\w]*|lib[\w.+-]+?): cannot open shared object"), {
        "libGL.so.1": "libgl1",
        "libcairo.so.2": "libcairo2",
        "libglib-2.0.so.0": "libglib2.0-0t64",
        "libgobject-2.0-0": _WEASYPRINT,
        "libharfbuzz-subset-0": _WEASYPRINT,
        "libmagic.so.1": "libmagic1t64",
        "libmariadb.so.3": "libmariadb3",
        "libpango-1.0-0": _WEASYPRINT,
        "libpangoft2-1.0-0": _WEASYPRINT,
        "libpq.so.5": "libpq5",
    }),
)  # fmt: skip


def lacking(output: str) -> str:
    """Name what of Debian's a program has not found, by what it printed; "" when it does not say so."""
    if (built := _NOT_BUILT.search(output)) and _LACKS.search(output):
        name = re.sub(r"[-_.]+", "-", built[1]).lower()
        if name in COMPILED:
            return ", ".join(COMPILED[name])
    for words, package in _FOR_WORDS:
        if words.search(output):
            return package
    for words, packages in _FILES:
        if file := words.search(output):
            return packages.get(file[1]) or f"the package that has {file[1]} (packages.debian.org finds it)"
    return ""
