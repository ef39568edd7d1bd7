"""Content types and Accept lists, parsed; and which module reads and writes which type.

A further format is one module with ``read_blocks(file, name, **options) -> Iterator[Block]`` and
``encode(block, **options) -> bytes``, and one line in `FORMATS`. Where the bytes of blocks, one
after another, do not make a file, it has ``write_blocks(file, blocks, **options)``, too; and where
files do not say all about their columns, ``settle(look, **options) -> dict`` (see `settled`).
"""

import functools
import importlib
import inspect
import math
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO, Literal, TypeAlias

from smalgos.errors import UserError
from smalgos.formats.block import Block
from smalgos.formats.shards import GZIP_MAGIC, find

Read: TypeAlias = Callable[[BinaryIO, str], Iterator[Block]]
Write: TypeAlias = Callable[[Block], bytes]
WriteBlocks: TypeAlias = Callable[[BinaryIO, Iterable[Block]], None]
# look(read) gives what read(file, name) gives for each file of a channel.
Look: TypeAlias = Callable[[Callable[[BinaryIO, str], Iterator[Any]]], Iterator[Any]]

CSV = "text/csv"
RECORDIO = "application/x-recordio-protobuf"
LIBSVM = "text/libsvm"
LIBFFM = "text/libffm"
PARQUET = "application/x-parquet"
JSON = "application/json"
JSON_LINES = "application/jsonlines"
TEXT = "text/plain"

RECORDIO_MAGIC = bytes.fromhex("0a23d7ce")
PARQUET_MAGIC = b"PAR1"
_A_NUMBER = r"[-+]?[.\d][-+.\deE]*"
# How a line of libsvm begins that is more than a label.
LIBSVM_LINE = re.compile(rf"{_A_NUMBER}(:{_A_NUMBER})?[ \t]+(qid:\d+[ \t]+)?\d+:{_A_NUMBER}(\s|$)")
LIBFFM_LINE = re.compile(rf"{_A_NUMBER}(:{_A_NUMBER})?[ \t]+\d+:\d+:{_A_NUMBER}(\s|$)")
GUESS_BYTES = 4096  # enough for the first line of most tables

# RFC 9110, section 5.6.2; `*` is a token character, so ranges of Accept are parsed alike.
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

# How a JSON document of rows begins, or a row of JSON Lines.
ROW_BEGINS = re.compile(r'\s*\{\s*"(instances|features|data|source)"')


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError("a whole number from 0 on")
    return int(text)


def _positive(text: str) -> int:
    if (value := int(text) if text.isascii() and text.isdigit() else 0) < 1:
        raise ValueError("a whole number from 1 on")
    return value


def _zero_or_one(text: str) -> int:
    if text not in ("0", "1"):
        raise ValueError("0 or 1")
    return int(text)


def _encoding(text: str) -> str:
    try:
        "".encode(text)
    except (LookupError, ValueError):
        raise ValueError("a character encoding that Python knows, such as utf-8") from None
    return text.lower()


def _utf_8(text: str) -> str:
    if text.lower() not in ("utf-8", "utf8"):
        raise ValueError("utf-8, and nothing else")
    return ""


def _no_header(text: str) -> str:
    if text.lower() != "absent":
        raise ValueError("absent: the algorithms take CSV without a header")
    return ""


@dataclass(frozen=True)
class Format:
    """A line of the registry.

    Parameters
    ----------
    type : str
        Media type, lower-case.
    module : str
        Name of the module, imported when first needed.
    aliases : tuple of str
        Other names of the type.
    suffixes : tuple of str
        Of file names, lower-case; a further ``.gz`` is looked through.
    parameters : mapping
        Parameter of the content type -> (option of the module's functions, or "" for none; parser
        of its value, whose ValueError says what is allowed).
    columns : tuple of str
        What files can hold beside features.
    texts : {"no", "too", "only"}
        Whether rows may be of texts.
    """

    type: str
    module: str
    aliases: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()
    parameters: Mapping[str, tuple[str, Callable[[str], Any]]] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    texts: Literal["no", "too", "only"] = "no"


FORMATS = (
    Format(
        RECORDIO,
        "smalgos.formats.protobuf",
        aliases=("recordio-protobuf", "x-recordio-protobuf", "application/recordio-protobuf"),
        suffixes=(".pbr", ".pb", ".recordio"),
        columns=("labels",),
    ),
    Format(
        CSV,
        "smalgos.formats.csv",
        aliases=("csv", "application/csv", "text/x-csv"),
        suffixes=(".csv",),
        parameters={
            "label_size": ("label_size", _whole),
            "charset": ("encoding", _encoding),
            "encoding": ("encoding", _encoding),
            "delimiter": ("delimiter", str),
            "header": ("", _no_header),
            "weights": ("weights", _zero_or_one),
        },
        columns=("labels", "weights"),
        texts="too",
    ),
    Format(
        JSON,
        "smalgos.formats.json_document",
        aliases=("json",),
        suffixes=(".json",),
        parameters={"charset": ("", _utf_8)},
        texts="too",
    ),
    Format(
        JSON_LINES,
        "smalgos.formats.jsonlines",
        aliases=("jsonlines", "application/x-jsonlines", "application/jsonl"),
        suffixes=(".jsonl", ".jsonlines", ".ndjson"),
        parameters={"charset": ("", _utf_8)},
        texts="too",
    ),
    Format(
        LIBSVM,
        "smalgos.formats.libsvm",
        aliases=("libsvm", "text/x-libsvm", "application/libsvm"),
        suffixes=(".libsvm", ".svm", ".svmlight"),
        parameters={"base": ("base", _zero_or_one), "width": ("width", _positive)},
        columns=("labels", "weights", "groups"),
    ),
    Format(
        LIBFFM,
        "smalgos.formats.libffm",
        aliases=("libffm", "text/x-libffm", "application/libffm"),
        suffixes=(".libffm", ".ffm"),
        parameters={"base": ("base", _zero_or_one), "width": ("width", _positive)},
        columns=("labels", "weights", "groups"),
    ),
    Format(
        PARQUET,
        "smalgos.formats.parquet",
        aliases=("parquet", "application/vnd.apache.parquet"),
        suffixes=(".parquet",),
        parameters={"label_size": ("label_size", _whole)},
        columns=("labels", "weights", "groups"),
    ),
    Format(
        TEXT,
        "smalgos.formats.text",
        parameters={"charset": ("", _utf_8)},
        texts="only",
    ),
)

_BY_TYPE = {f.type: f for f in FORMATS}
_ALIASES = {alias: f.type for f in FORMATS for alias in f.aliases}


@dataclass(frozen=True)
class ContentType:
    """A media type with its parameters.

    Parameters
    ----------
    type : str
        Lower-case, an alias replaced by the type it stands for.
    parameters : mapping of str to str
        Names are lower-case, values as given; a parameter without a value has the value "".
    """

    type: str
    parameters: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> "ContentType":
        """Read ``type/subtype; name=value; name="quoted value"; name``.

        Parameters
        ----------
        text : str

        Returns
        -------
        ContentType

        Raises
        ------
        UserError
            When `text` is no content type, or gives one parameter two values.
        """
        first, *rest = (part.strip() for part in _split(text, ";"))
        name = first.lower()
        name = _ALIASES.get(name, name)
        main, slash, sub = name.partition("/")
        if not (slash and TOKEN.fullmatch(main) and TOKEN.fullmatch(sub)):
            raise UserError(
                f"content type {_short(text)}: expected type/subtype, such as {CSV}; label_size=0"
            )
        parameters: dict[str, str] = {}
        for part in filter(None, rest):
            key, _, value = (s.strip() for s in part.partition("="))
            key, value = key.lower(), _unquoted(value)
            if not TOKEN.fullmatch(key):
                raise UserError(f"content type {_short(text)}: {_short(part)} is no parameter")
            if parameters.setdefault(key, value) != value:
                raise UserError(
                    f"content type {_short(text)}: {key} is given twice, "
                    f"as {_short(parameters[key])} and as {_short(value)}"
                )
        return cls(name, parameters)

    def __str__(self) -> str:
        parts = [self.type]
        for name, value in self.parameters.items():
            if value and not TOKEN.fullmatch(value):
                value = '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'
            parts.append(f"{name}={value}" if value else name)
        return "; ".join(parts)


def _split(text: str, mark: str) -> list[str]:
    """The parts between marks that stand outside quotes."""
    parts, start, quoted, escaped = [], 0, False, False
    for i, c in enumerate(text):
        if escaped:
            escaped = False
        elif quoted and c == "\\":
            escaped = True
        elif c == '"':
            quoted = not quoted
        elif c == mark and not quoted:
            parts.append(text[start:i])
            start = i + 1
    return [*parts, text[start:]]


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] == '"':
        return re.sub(r"\\(.)", r"\1", value[1:-1])
    return value


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")


def _list(names: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def accept(header: str | None, supported: Sequence[str], default: str) -> ContentType:
    """Choose the type of a response.

    The most specific range that a type falls under gives its quality (RFC 9110, section 12.5.1).
    The highest quality wins, then the earlier range, then the default, then the earlier type.

    Parameters
    ----------
    header : str or None
        The Accept list: ``text/csv;q=0.5, application/json; verbose=true, */*;q=0.1``. None and
        the empty string accept anything.
    supported : sequence of str
        Types that can be produced.
    default : str
        The one of them for whoever takes anything.

    Returns
    -------
    ContentType
        One of the supported types, with the parameters that were asked for (without ``q``).

    Raises
    ------
    UserError
        When nothing supported is acceptable, or the list cannot be read.
    """
    ranges = [_range(part) for part in _split(header or "*/*", ",") if part.strip()]
    best: tuple[float, int, int] = (0.0, 0, 0)
    chosen: ContentType | None = None
    for place, candidate in enumerate(dict.fromkeys([default, *supported])):
        patterns = ("*/*", candidate.partition("/")[0] + "/*", candidate)
        matching = [
            (patterns.index(asked.type), quality, -i)
            for i, (asked, quality) in enumerate(ranges)
            if asked.type in patterns
        ]
        specific, quality, order = max(matching, default=(0, 0.0, 0))
        if quality > 0 and (chosen is None or (quality, order, -place) > best):
            best = quality, order, -place
            asked = ranges[-order][0]
            chosen = ContentType(candidate, asked.parameters if specific == 2 else {})
    if chosen is None:
        raise UserError(
            f"no answer can be given as {_short(header or '')}: accept {_list(list(supported))}"
        )
    return chosen


def _range(text: str) -> tuple[ContentType, float]:
    asked = ContentType.parse(re.sub(r"^\s*\*\s*(?=;|$)", "*/*", text))
    parameters = dict(asked.parameters)
    q = parameters.pop("q", "1")
    if not re.fullmatch(r"[01]?\.\d+|[01]\.?", q) or float(f"0{q}") > 1:
        raise UserError(f"Accept {_short(text.strip())}: q={_short(q)} must be from 0 to 1")
    return ContentType(asked.type, parameters), float(f"0{q}")


def reader(content_type: str | ContentType, **defaults: Any) -> Read:
    """What reads files of a content type.

    Parameters
    ----------
    content_type : str or ContentType
        Its parameters become options: ``text/csv; label_size=0``. CSV has one label column where
        it does not say, as in training; requests have none and call ``reader(type, label_size=0)``.
    **defaults
        Options where the content type does not say; those that the format lacks are left out.
        ``texts``: names of the columns of rows of texts; none: rows are of numbers.

    Returns
    -------
    callable
        ``read(file, name) -> Iterator[Block]``: a binary file read from where it stands, in
        bounded memory; errors call it `name`.

    Raises
    ------
    UserError
        When the type is not supported, a parameter unknown or its value bad.
    """
    return Reader(*_loaded(content_type, defaults))


@dataclass(frozen=True)
class Reader:
    """What reads files of a content type; see `reader`.

    Parameters
    ----------
    module : module
        Of the format.
    options : mapping
        Of its functions; each takes what it knows.
    """

    module: ModuleType
    options: Mapping[str, Any]

    @property
    def threaded(self) -> bool:
        """Whether it works on several threads by itself."""
        return getattr(self.module, "THREADED", False)

    @functools.cached_property
    def _read(self) -> Read:
        return _bound(self.module.read_blocks, self.options)

    def __call__(self, file: BinaryIO, name: str) -> Iterator[Block]:
        return self._read(file, name)


def settled(read: Read, look: Look) -> tuple[Read, dict[str, Any]]:
    """A reader that knows what the files of a channel have in common but do not say by themselves.

    Parameters
    ----------
    read : callable
        As `reader` makes it.
    look : callable
        ``look(read)`` gives all that ``read(file, name)`` gives, file by file.

    Returns
    -------
    (callable, dict)
        The reader, and the options that were settled: for other channels of the same job.
    """
    settle = getattr(read.module, "settle", None) if isinstance(read, Reader) else None
    if settle is None:
        return read, {}
    assert isinstance(read, Reader)
    found: dict[str, Any] = _bound(settle, read.options)(look)
    return Reader(read.module, {**read.options, **found}), found


def writer(content_type: str | ContentType, **defaults: Any) -> Write:
    """What writes blocks as a content type.

    Parameters
    ----------
    content_type, **defaults
        As for `reader`.

    Returns
    -------
    callable
        ``encode(block) -> bytes``; the bytes of successive blocks make one file, but for formats
        that have a ``write_blocks``: see `blocks_writer`.

    Raises
    ------
    UserError
        As for `reader`; for an encoding that does not contain ASCII; from ``encode``, for a block
        with other labels than the content type says.
    """
    module, options = _loaded(content_type, defaults)
    encode, check = _bound(module.encode, options), _checked(options)
    return lambda block: encode(check(block))


def blocks_writer(content_type: str | ContentType, **defaults: Any) -> WriteBlocks:
    """What writes blocks as one file of a content type.

    Parameters
    ----------
    content_type, **defaults
        As for `reader`.

    Returns
    -------
    callable
        ``write_blocks(file, blocks)``, in the memory of a few blocks.

    Raises
    ------
    UserError
        As for `writer`.
    """
    module, options = _loaded(content_type, defaults)
    check = _checked(options)
    if hasattr(module, "write_blocks"):
        write_blocks = _bound(module.write_blocks, options)
        return lambda file, blocks: write_blocks(file, map(check, blocks))
    encode = _bound(module.encode, options)

    def one_by_one(file: BinaryIO, blocks: Iterable[Block]) -> None:
        for block in blocks:
            file.write(encode(check(block)))

    return one_by_one


def _checked(options: Mapping[str, Any]) -> Callable[[Block], Block]:
    """A block as it is, if it has the labels that the options say."""
    text = "0,1\n"
    if text.encode(options.get("encoding", "ascii")) != text.encode("ascii"):
        raise UserError(f"{options['encoding']}: text is written as UTF-8; leave the encoding out")
    expected = options.get("label_size")

    def checked(block: Block) -> Block:
        n = 0 if block.labels is None else math.prod(block.labels.shape[1:])
        if n != (n if expected is None else expected):
            raise UserError(f"label_size={expected}: the rows have {n} labels each")
        return block

    return checked


def _loaded(
    content_type: str | ContentType, defaults: Mapping[str, Any]
) -> tuple[ModuleType, dict[str, Any]]:
    asked, known = _format(content_type)
    if "texts" in defaults and known.texts == ("no" if defaults["texts"] else "only"):
        rows = "texts" if defaults["texts"] else "numbers"
        could = _list(types(texts=bool(defaults["texts"])))
        raise UserError(f"content type {_short(asked.type)} has no rows of {rows}: use {could}")
    options: dict[str, Any] = {}
    for name, text in asked.parameters.items():
        if name not in known.parameters:
            allowed = _list(sorted(known.parameters)) if known.parameters else "none"
            raise UserError(
                f"content type {_short(str(asked))}: {known.type} has no parameter {_short(name)}; "
                f"known: {allowed}"
            )
        option, parsed = known.parameters[name]
        try:
            value = parsed(text)
        except ValueError as e:
            raise UserError(
                f"content type {_short(str(asked))}: {name}={_short(text)} must be {e}"
            ) from None
        if option and options.setdefault(option, value) != value:
            raise UserError(f"content type {_short(str(asked))}: two values for the {option}")
    return importlib.import_module(known.module), {**defaults, **options}


def _format(content_type: str | ContentType) -> tuple[ContentType, Format]:
    asked = ContentType.parse(content_type) if isinstance(content_type, str) else content_type
    known = _BY_TYPE.get(asked.type)
    if known is None:
        raise UserError(f"content type {_short(asked.type)} is not supported: use {_list(types())}")
    return asked, known


def _bound(function: Callable[..., Any], options: Mapping[str, Any]) -> Callable[..., Any]:
    known = _parameters(function)
    return functools.partial(function, **{n: v for n, v in options.items() if n in known})


@functools.cache
def _parameters(function: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)


def types(*, texts: bool = False) -> list[str]:
    """The media types of rows of numbers, or of texts, that can be read and written."""
    without = "no" if texts else "only"
    return sorted(f.type for f in FORMATS if f.texts != without)


def columns(content_type: str | ContentType) -> tuple[str, ...]:
    """The columns that files of a content type can hold.

    Raises
    ------
    UserError
        When the type is not supported.
    """
    return ("features", *_format(content_type)[1].columns)


def guess(
    source: str | os.PathLike[str] | bytes, name: str = "", *, default: str | None = None
) -> ContentType:
    """The content type of a file, by its suffix, else by its first bytes.

    Parameters
    ----------
    source : path or bytes
        A file, a directory (then its first file counts) or the first bytes of a file.
    name : str
        Name of the file that the bytes come from, if it has one.
    default : str, optional
        Media type of rows of texts: what they are, unless they look like JSON or a binary format.

    Returns
    -------
    ContentType

    Raises
    ------
    UserError
        When neither tells, or the path does not exist.
    """
    if isinstance(source, bytes):
        found = by_suffix(name) or _by_magic(source)
        shown = name or "the data"
    else:
        shard = find(source)[0]
        found, shown = by_suffix(shard.name), shard.name
        if found is None and Path(shard.path).is_file():
            with shard.open() as file:
                found = _by_magic(file.read(GUESS_BYTES))
    if default is not None and found not in (JSON, JSON_LINES, RECORDIO, PARQUET):
        found = default
    if found is None:
        raise UserError(
            f"{shown}: neither the name nor the first bytes tell what this is; "
            f"give content_type: {_list(types())}"
        )
    return ContentType(found)


def by_suffix(name: str | os.PathLike[str]) -> str | None:
    """The media type that a file name tells, or None."""
    plain = os.fspath(name).lower().removesuffix(".gz")
    return next((f.type for f in FORMATS if plain.endswith(f.suffixes)), None)


def _by_magic(head: bytes) -> str | None:
    if head.startswith(GZIP_MAGIC):
        try:
            head = zlib.decompressobj(wbits=31).decompress(head, GUESS_BYTES)
        except zlib.error:
            return None
    if head.startswith(RECORDIO_MAGIC):
        return RECORDIO
    if head.startswith(PARQUET_MAGIC):
        return PARQUET
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        if e.end < len(head) or e.reason != "unexpected end of data":
            return None
        text = head[: e.start].decode("utf-8-sig")  # the head ends inside a character
    if found := ROW_BEGINS.match(text):
        return JSON if found[1] == "instances" else JSON_LINES
    lines = [s.strip() for s in text.splitlines() if s.strip()]
    first = next((s for s in lines if not s.startswith("#")), "")
    for pattern, found_type in ((LIBSVM_LINE, LIBSVM), (LIBFFM_LINE, LIBFFM)):
        if pattern.match(first):
            return found_type
    line = next(iter(lines), "")
    printable = all(c.isprintable() or c == "\t" for c in line)
    return CSV if printable and "," in line and line[0] not in "{[" else None
