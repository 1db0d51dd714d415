"""The building blocks of the schema: a section, a choice among kinds, and how kinds are found.

A `Section` is a mapping with fixed keys. A `Variant` is a section whose `kind` says which of
several things it is. The schema stays free of torch: a variant names the class that implements
it as text, and `build` imports that class only when a run needs it.

The package's schemas stand beside what they configure, in files named `config.py` or
`*_config.py`, and in the `__init__.py` of a task's package. Installed packages register theirs
when the modules of their entry points `attnlab.plugins` are imported, and a user's files when the
modules that the config names as `plugins` are.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    create_model,
    model_validator,
)
from pydantic.functional_validators import ModelWrapValidatorHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from attnlab.compat import show_extras_of_torchmetrics
from attnlab.errors import Mistake, UserError, suggest

PACKAGE = Path(__file__).resolve().parents[1]
ENTRY_POINTS = "attnlab.plugins"


def schema_modules() -> list[str]:
    """The names of the package's own schema files."""
    schemas = {*PACKAGE.rglob("config.py"), *PACKAGE.rglob("*_config.py")}
    paths = sorted(schemas | {*PACKAGE.glob("tasks/*/__init__.py")})
    names = (".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in paths)
    return [name.removesuffix(".__init__") for name in names]


@cache
def load_kinds() -> None:
    """Import every schema file of the package, then the plugins of installed packages.

    A schema file imports nothing heavy: the config is checked before torch is imported.
    """
    for name in schema_modules():
        importlib.import_module(name)
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        package = point.dist.name if point.dist else "an installed package"
        _import(point.module, f"plugin '{point.name}' of {package}", "installed")


_plugins: set[str] = set()


def imported_plugins() -> set[str]:
    """The plugins that this process has imported."""
    return _plugins


def import_plugins(modules: Sequence[str]) -> None:
    """Import the user's modules; the folder that the command was started in counts.

    Only those that the user's own command names, or that `trusted_plugins` in the stages allows.
    """
    if modules and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    for name in modules:
        if not all(part.isidentifier() for part in str(name).split(".")):
            hint = "allowed: my_module, package.module"
            raise UserError(str(Mistake("plugins", f"'{name}' is not the name of a module", hint)))
        _import(name, "plugins", f"in {Path.cwd()} or installed")
        _plugins.add(name)


def _import(name: str, whose: str, where: str) -> None:
    show_extras_of_torchmetrics()
    try:
        importlib.import_module(name)
    except UserError as error:
        raise UserError(f"{whose}: {name}: {error}") from None
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == name.split(".", maxsplit=1)[0]:
            raise UserError(f"{whose}: no module '{name}' {where}") from None
        frame = traceback.extract_tb(error.__traceback__)[-1]
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        line = f"{frame.filename}, line {frame.lineno}"
        raise UserError(f"{whose}: cannot import '{name}': {reason} ({line})") from error


SHARED = "base"  # the file of a group that its others include, no choice by itself


def config_dir() -> Path:
    """The folder of YAML files: `conf/` of the checkout, or the copy inside an installed wheel."""
    checkout = PACKAGE.parents[1] / "conf"
    return checkout if checkout.is_dir() else PACKAGE / "conf"


def is_name(text: str) -> bool:
    """Whether a text can name a file or a folder, and cannot lead elsewhere."""
    return text.isprintable() and text not in ("", ".", "..") and not set(text) & set("/\\")


def _name(text: str) -> str:
    if not is_name(text):
        raise ValueError(f"'{text}' is no name; a name is no path: without / and \\, not . or ..")
    return text


Name = Annotated[str, Field(max_length=200), AfterValidator(_name)]  # of files or folders, too


class Section(BaseModel):
    """A part of the config: fixed keys, no defaults (those stand in YAML), never changed."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False
    )

    def mistakes(self, config: Any) -> Iterator[Mistake]:
        """What does not go together with the rest of the config; called for every section of it.

        Each section has been checked by itself before. An override also yields those of its base
        class: `yield from super().mistakes(config)`.

        Args:
            config: the whole `Config`.

        Yields:
            Mistakes; a `where` that begins with a dot is a key of this section.
        """
        yield from ()


class Variant(Section):
    """A section chosen by its `kind`.

    A direct subclass opens a slot (`class Score(Variant, slot="score")`); a subclass of the slot
    is one choice in it (`class Dot(Score, kind="dot", target="package.module:Class")`).
    `register` writes such a subclass for a class that implements a kind.
    """

    kind: str

    slot: ClassVar[str] = ""
    target: ClassVar[str | Callable[..., Any]] = ""
    choices: ClassVar[dict[str, type[Variant]]] = {}  # those registered so far; see `kinds`

    def __init_subclass__(
        cls, slot: str = "", kind: str = "", target: str | Callable[..., Any] = "", **kwargs: Any
    ) -> None:
        super().__init_subclass__(**kwargs)
        if slot:
            cls.slot, cls.choices = slot, {}
            SLOTS[slot] = cls
        if target:
            cls.target = target if isinstance(target, str | type) else staticmethod(target)
        if isinstance(target, type):
            for fact in cls.facts:
                if hasattr(target, fact):
                    setattr(cls, fact, getattr(target, fact))
        if kind:
            taken = cls.choices.get(kind)
            if taken and (taken.__module__, taken.__name__) != (cls.__module__, cls.__name__):
                raise UserError(f"{cls.slot} '{kind}' is there already, from {taken.__module__}")
            cls.choices[kind] = cls

    facts: ClassVar[tuple[str, ...]] = ()
    """Class attributes of the slot that a registered class may state as its own."""

    @classmethod
    def kinds(cls) -> dict[str, type[Self]]:
        """Every choice of the slot by its name, the package's own and those of plugins."""
        load_kinds()
        return cls.choices  # type: ignore[return-value]

    @model_validator(mode="wrap")
    @classmethod
    def _choose(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Any:
        """Hand a mapping given for the slot to the schema of its kind."""
        is_slot = SLOTS.get(cls.slot) is cls
        if not is_slot or isinstance(value, Variant):
            return handler(value)
        if not isinstance(value, dict) or "kind" not in value:
            raise PydanticCustomError("no_kind", "needs a 'kind'", {"allowed": list(cls.kinds())})
        schema = cls.kinds().get(str(value["kind"]))
        if schema is None:
            context = {"kind": value["kind"], "allowed": list(cls.kinds())}
            raise PydanticCustomError("unknown_kind", "unknown kind '{kind}'", context)
        return schema.model_validate(value)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """The schema of a slot is a union of its choices, discriminated by `kind`."""
        if SLOTS.get(cls.slot) is not cls:
            return handler(core_schema)
        options: list[JsonSchemaValue] = []
        for kind, choice in cls.kinds().items():
            schema = handler.resolve_ref_schema(handler(choice.__pydantic_core_schema__))
            options.append(
                schema | {"properties": schema["properties"] | {"kind": {"const": kind}}}
            )
        return {"oneOf": options}

    def settings(self) -> dict[str, Any]:
        """The keyword arguments of the implementing class; kind and name are for people."""
        fields = [field for field in type(self).model_fields if field not in ("kind", "name")]
        return {field: getattr(self, field) for field in fields}

    def implementation(self) -> Any:
        """The class or function that does what this section says, imported now."""
        if not isinstance(self.target, str):
            return self.target
        module, _, name = self.target.partition(":")
        return getattr(importlib.import_module(module), name)

    def build(self, *args: Any, **kwargs: Any) -> Any:
        """An instance of the implementing class, given the settings of this section."""
        return self.implementation()(*args, **kwargs, **self.settings())


def named_by_kind(variants: Any) -> Any:
    """Variants by name, without those that are null; where none is given, the name is the kind."""
    if not isinstance(variants, dict):
        return variants
    return {
        name: {"kind": name, **each} if isinstance(each, dict) else each
        for name, each in variants.items()
        if each is not None
    }


def or_null(schema: JsonSchemaValue) -> None:
    """In the JSON schema of a mapping whose validator drops what is null: values may be null."""
    schema["additionalProperties"] = {"anyOf": [schema["additionalProperties"], {"type": "null"}]}


SLOTS: dict[str, type[Variant]] = {}

Implementation = TypeVar("Implementation", bound=Callable[..., Any])


class Stage(Variant, slot="stage"):
    """A command `attnlab NAME` of a plugin: it is called with the arguments that follow.

    The package's own stages are files in `attnlab.stages`, so that listing them imports nothing.
    """


def register(slot: str, kind: str) -> Callable[[Implementation], Implementation]:
    """Add a choice to a slot from a class or function: `@register("score", "my_score")`.

    The schema is read off the class: its keyword-only arguments, with their types, are the
    settings that the YAML has to give. It is what a `Variant` subclass with `kind` and `target`
    is, written for you.

    Raises:
        UserError: if there is no such slot, or if the kind is taken.
    """
    load_kinds()
    if slot not in SLOTS:
        raise UserError(f"register: no slot '{slot}'; {suggest(slot, SLOTS)}")

    def decorate(implementation: Implementation) -> Implementation:
        parameters = inspect.signature(implementation, eval_str=True).parameters.values()
        fields: dict[str, Any] = {
            p.name: (Any if p.annotation is p.empty else p.annotation, ...)
            for p in parameters
            if p.kind is p.KEYWORD_ONLY
        }
        name = f"{implementation.__name__}Config"
        create_model(
            name,
            __base__=SLOTS[slot],
            __cls_kwargs__={"kind": kind, "target": implementation},
            __module__=implementation.__module__,
            __doc__=implementation.__doc__,
            **fields,
        )
        return implementation

    return decorate
