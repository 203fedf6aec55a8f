"""The tools of each role, one file each: a CI, a packager, a repository.

A role is a section of the configuration and a package of `delivery` that holds a `Registry`. A tool
is a module of that package which bears the name that `<role>.tool` gives it and defines a class of
that `name`. To add a tool, add its file; nothing else has to know of it.

    TOOLS = Registry(CiServer, __name__)
    TOOLS.find("jenkins")               # the class
    TOOLS.create(configuration)         # one of the class that the configuration names
    TOOLS.register(Toy)                 # one whose file is elsewhere, such as a test's
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Mapping, TypeVar, cast

from delivery.errors import DeliveryError
from delivery.names import nearest, plain, shown

if TYPE_CHECKING:
    from delivery.configuration import Configuration

T = TypeVar("T", bound="Tool")


class Tool:
    """What each tool says of itself. The class of a role adds what its tools do.

    - `role`: the section of the configuration; set by the class of the role.
    - `name`: what `<role>.tool` and the module are called.
    - `own_settings`: what its own part of the section, `<role>.<name>`, may hold: properties of a
      JSON schema as in config.schema.yaml. A tool that is described there has none here.
    - `required`: what has to be set in the section, and what to do when it is not. A key in a part
      of the section has its path: `jenkins.url`.
    - `programs`: what it calls on its host, a build host or that of the repository;
      `installed_by`: the command that installs that.
    """

    role: ClassVar[str]
    name: ClassVar[str]
    own_settings: ClassVar[Mapping[str, Any]] = {}
    required: ClassVar[Mapping[str, str]] = {}
    programs: ClassVar[tuple[str, ...]] = ()
    installed_by: ClassVar[str] = ""

    @classmethod
    def configured(cls: type[T], configuration: Configuration) -> T:
        """Makes one as it is configured; a class that takes parameters has its own.

        :raises DeliveryError: for a setting that is missing or cannot be used, by its name.
        """
        cls.section(configuration)
        return cls()

    @classmethod
    def section(cls, configuration: Configuration) -> dict[str, Any]:
        """Returns the settings of the role; the tool's own are in the part of its name.

        :raises DeliveryError: naming the first that is required and not set.
        """
        section = configuration.section(cls.role)
        for problem in cls.missing(section):
            raise DeliveryError(problem)
        return section

    @classmethod
    def missing(cls, section: Mapping[str, Any]) -> list[str]:
        """Returns one line for each required setting that is not set: which, and what to do."""
        return [
            f"{cls.role}.{key} is not set in the pack's configuration; {advice}"
            for key, advice in cls.required.items()
            if _value(section, key) in (None, "")
        ]

    @classmethod
    def check_of_host(cls, section: Mapping[str, Any]) -> str:
        """Returns commands for sh with which the doctor finds what is wrong on a host that it works
        on, apart from missing `programs`. They print a line for each thing.

        :param section: the settings of the role, of which any may be missing.
        """
        return ""


class Registry(Generic[T]):
    """
    :param kind: the class of the role.
    :param package: the package with the tools' modules.
    """

    def __init__(self, kind: type[T], package: str) -> None:
        self.role = kind.role
        self._kind = kind
        self._package = package
        self._registered: dict[str, type[T]] = {}

    def register(self, tool: type[T]) -> None:
        """Adds a tool whose module is not in the role's folder."""
        self._registered[tool.name] = tool

    def names(self) -> list[str]:
        """Returns the names of all tools but those whose file cannot be used."""
        return sorted({*self._registered, *filter(self._is_usable, self._modules())})

    def knows(self, name: str) -> bool:
        """Returns whether there is a tool of this name."""
        return name in self._registered or self._in_folder(name) is not None

    def find(self, name: str) -> type[T]:
        """Returns the class of a tool.

        :raises DeliveryError: when there is no such tool, with the nearest; or when its file
            cannot be loaded or its class says what it may not, with the reason.
        """
        tool = self._registered.get(name) or self._in_folder(name)
        if tool is None:
            raise DeliveryError(
                f"{self.role}.tool in the pack's configuration: unknown tool {shown(name)}; "
                f"nearest: {', '.join(nearest(name, self.names()))}"
            )
        return tool

    def chosen(self, configuration: Configuration) -> type[T]:
        """Returns the class of the tool that the configuration names."""
        return self.find(configuration.section(self.role)["tool"])

    def create(self, configuration: Configuration) -> T:
        """Makes the tool that the configuration names.

        :raises DeliveryError: when it cannot be made as it is configured; names the setting.
        """
        return self.chosen(configuration).configured(configuration)

    def _modules(self) -> list[str]:
        return [each.name for each in pkgutil.iter_modules(sys.modules[self._package].__path__)]

    def _is_usable(self, name: str) -> bool:
        try:
            return self._in_folder(name) is not None
        except DeliveryError:
            return False

    def _in_folder(self, name: str) -> type[T] | None:
        """Returns the tool in the module of this name; None if there is none in it."""
        if name not in self._modules():
            return None
        where = f"{self._package.replace('.', '/')}/{name}.py"
        try:
            module = importlib.import_module(f"{self._package}.{name}")
        except (Exception, SystemExit) as error:
            raise DeliveryError(
                f"{where} cannot be loaded: {type(error).__name__}: {plain(str(error))}; "
                "correct the file, or remove it"
            ) from error
        for value in vars(module).values():
            is_tool = isinstance(value, type) and issubclass(value, self._kind)
            if is_tool and vars(value).get("name") == name:
                _check(value, where)
                return cast("type[T]", value)
        return None


def _check(tool: type[Tool], where: str) -> None:
    """Looks at what a tool says of itself, before anybody takes a string for a tuple of strings.

    :raises DeliveryError: naming the file, the attribute and what it should be.
    """
    says: dict[str, Any] = {
        name: getattr(tool, name) for name in ("programs", "required", "own_settings")
    }
    for name, is_proper, expected in (
        ("programs", _is_texts, 'a tuple of texts, such as ("git",)'),
        ("required", _is_advice, 'a mapping of text to text, such as {"url": "set it to ..."}'),
        (
            "own_settings",
            _is_properties,
            'a mapping of JSON schemas, such as {"url": {"type": "string"}}',
        ),
    ):
        if not is_proper(says[name]):
            raise DeliveryError(
                f"{where}: {tool.__name__}.{name} is {shown(says[name])}; make it {expected}"
            )


def _is_texts(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and all(isinstance(each, str) for each in value)


def _is_advice(value: Any) -> bool:
    return isinstance(value, Mapping) and _is_texts([*value.keys(), *value.values()])


def _is_properties(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and _is_texts(list(value))
        and all(
            isinstance(each, Mapping) and isinstance(each.get("type"), str)
            for each in value.values()
        )
    )


def _value(section: Mapping[str, Any], key: str) -> Any:
    """Returns what `a.b` is in a section, None if there is none."""
    value: Any = section
    for part in key.split("."):
        value = (value or {}).get(part)
    return value
