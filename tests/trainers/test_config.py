"""Recipes are typed, and what is wrong in one is said in a line that names it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from tests.trainers.tiny import TinyRecipe, write_recipe
from trainers.config import Run, differences, from_table, load, to_toml
from trainers.errors import RecipeError
from trainers.typed import from_mapping

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5
    size: int = 64


@dataclass(frozen=True)
class Outer:
    folder: Path
    inner: Inner = field(default_factory=Inner)
    mask: Literal["l1", "l2"] = "l1"
    side: Literal[64, 128] = 64
    names: tuple[str, ...] = ()
    pair: tuple[float, float] = (0.0, 1.0)
    weights: dict[str, float] = field(default_factory=dict)
    most: int | None = None
    on: bool = False

    def __post_init__(self) -> None:
        if self.most is not None and self.most < 1:
            raise ValueError("most is below 1")


def test_values_take_the_types_of_their_fields() -> None:
    """What a recipe says arrives as paths, tuples, floats and nested dataclasses."""
    filled = from_mapping(
        Outer,
        {
            "folder": "data",
            "inner": {"rate": 1},
            "names": ["a"],
            "pair": [1, 2],
            "weights": {"cycle": 10},
            "most": 3,
            "side": 128,
        },
    )
    wanted = Outer(
        Path("data"), Inner(1.0), names=("a",), pair=(1.0, 2.0), weights={"cycle": 10.0}, most=3, side=128
    )
    assert filled == wanted
    assert isinstance(filled.inner.rate, float)
    assert isinstance(filled.weights["cycle"], float)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"folder": "a", "inner": {"rat": 1}},
            r"option inner\.rat is not known; did you mean 'rate'\? .*rate, size",
        ),
        ({"folder": "a", "inner": {"rate": "1"}}, r"option inner\.rate: got '1', expected a number"),
        ({"folder": "a", "inner": {"size": 1.5}}, r"option inner\.size: got 1\.5, expected a whole number"),
        ({"folder": "a", "inner": {"size": True}}, r"option inner\.size: got True, expected a whole number"),
        ({"folder": "a", "inner": {"rate": float("nan")}}, r"option inner\.rate: got nan, expected a finite"),
        ({"folder": "a", "inner": 3}, r"option inner: got 3, expected a table"),
        (
            {"folder": "a", "mask": "l3"},
            r"option mask: got 'l3'; did you mean 'l1'|'l2'\? expected one of l1, l2",
        ),
        ({"folder": "a", "side": 65}, r"option side: got 65; .*expected one of 64, 128"),
        ({"folder": "a", "names": "x"}, r"option names: got 'x', expected a list"),
        ({"folder": "a", "names": [1]}, r"option names\.0: got 1, expected text"),
        ({"folder": "a", "pair": [1]}, r"option pair: got 1 values, expected 2"),
        ({"folder": "a", "most": "x"}, r"option most: got 'x', expected a whole number"),
        ({"folder": "a", "most": 0}, r"most is below 1"),
        ({"folder": "a", "on": 1}, r"option on: got 1, expected true or false"),
        ({"folder": 1}, r"option folder: got 1, expected a path"),
        ({}, r"option folder is missing"),
    ],
)
def test_a_wrong_value_is_named(values, message) -> None:
    """One line says where, what was given, what is expected, and the nearest name."""
    with pytest.raises(RecipeError, match=message):
        from_mapping(Outer, values)


def test_a_recipe_reads_back_as_it_was_saved(tmp_path) -> None:
    """The effective recipe beside a training starts the same training again."""
    recipe = load(write_recipe(tmp_path / "recipe.toml"), ["losses.mask=0.25", "run.weights=a 'b' \"c\"\\d"])
    text = to_toml(recipe.table())
    assert from_table(tomllib.loads(text)) == recipe
    assert recipe.options.losses.mask == 0.25
    assert to_toml({"a": {"b": {"c": "x\n"}}, "d e": [1.5, {"f": True}]}) == (
        '"d e" = [1.5, {f = true}]\n\n[a.b]\nc = "x\\u000a"\n'
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("run.seed=3", 3),
        ("run.precision=bfloat16", "bfloat16"),
        ('run.precision="bfloat16"', "bfloat16"),
        ("losses.mask=1e-3", 0.001),
        ("losses.cycle = 2", 2.0),
        ("run.tensorboard=true", True),
        ("data.broken=[1, 2]", (1, 2)),
        ("run.weights=12", "12"),
        ('stages=[{name="warm", steps=2}]', None),
    ],
)
def test_an_override_is_typed_as_its_option(tmp_path, text, value) -> None:
    """--set takes text where text is expected and TOML elsewhere."""
    recipe = load(write_recipe(tmp_path / "recipe.toml"), [text])
    if value is None:
        assert [(stage.name, stage.steps) for stage in recipe.options.stages] == [("warm", 2)]
    else:
        table, key = text.partition("=")[0].strip().split(".")
        assert getattr(recipe.run if table == "run" else getattr(recipe.options, table), key) == value


def test_an_override_reaches_into_a_list(tmp_path) -> None:
    """A stage of the recipe is shortened without writing it anew."""
    path = write_recipe(
        tmp_path / "r.toml", 'stages = [{name = "warm", steps = 9}, {name = "late", steps = 8}]'
    )
    assert [stage.steps for stage in load(path, ["stages.1.steps=2"]).options.stages] == [9, 2]
    with pytest.raises(RecipeError, match="expected a number below 2"):
        load(path, ["stages.2.steps=2"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run.sede=1", r"option run\.sede is not known; did you mean 'seed'\?"),
        ("losess.mask=1", r"option losess is not known; did you mean 'losses'\?"),
        ("run.seed", "expected key=value"),
        ("run.seed.low=1", "run.seed is no table"),
        ("run.workers.low=1", "holds no options"),
        ("run.seed=many", r"option run\.seed: got 'many', expected a whole number"),
        ("run=3", r"option run: got 3, expected a table"),
        ("run.save_every=0", r"run: save_every is 0, expected 1 or more"),
        ("run.seed=-1", r"run: seed is -1"),
        ("system=other", "a system cannot be set"),
        ("stages.\u00b2.steps=1", "expected a number below"),
        ("losses.cycle=1" + "0" * 400, "expected a finite number"),
        ("run.seed=1" + "0" * 5000, r"option run\.seed: got .*expected a whole number"),
        ('stages=[{name="warm"}]', r"give either steps or epochs"),
    ],
)
def test_a_wrong_override_is_named(tmp_path, text, message) -> None:
    """A misspelt option never trains in silence with the default."""
    with pytest.raises(RecipeError, match=message):
        load(write_recipe(tmp_path / "recipe.toml"), [text])


def test_a_table_set_over_a_plain_value_is_refused(tmp_path) -> None:
    """--set reports what the recipe has in its way, and leaves the recipe's own table alone."""
    table = {"system": "tiny", "losses": 3}
    with pytest.raises(RecipeError, match=r"losses is no table in the recipe"):
        from_table(table, ["losses.mask=1"])
    held = {"system": "tiny", "losses": {"mask": 0.5}}
    assert from_table(held, ["losses.mask=1"]).options.losses.mask == 1.0
    assert held["losses"] == {"mask": 0.5}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('system = "ganimatoin"', r"system: got 'ganimatoin'; did you mean 'ganimation'\?"),
        ("seed = 1", "no system is named"),
        ("system = 3", "no system is named"),
        ("system = ", "Invalid value"),
        ("seed = 1" + "0" * 5000, "limit"),
        ("seed = " + "[" * 100_000, "recursion"),
    ],
)
def test_a_wrong_recipe_is_named(tmp_path, text, message) -> None:
    """The file's name stands in the line."""
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=f"mine.toml: .*{message}"):
        load(path)


def test_a_missing_or_binary_recipe_is_named(tmp_path) -> None:
    """No traceback for a wrong path."""
    with pytest.raises(RecipeError, match=r"none\.toml: cannot be read \(No such file"):
        load(tmp_path / "none.toml")
    (tmp_path / "picture.toml").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(RecipeError, match=r"no text in UTF-8"):
        load(tmp_path / "picture.toml")


def test_differences_are_named_by_dots() -> None:
    """What a resumed training tells about a changed recipe."""
    found = differences({"a": {"b": 1, "c": 2}, "d": 1}, {"a": {"b": 1, "c": 3}, "e": 4})
    assert found == {"a.c": (2, 3), "d": (1, None), "e": (None, 4)}


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_recipe_loads(path) -> None:
    """A recipe in configs/ is one that can be trained, and its effective form says the same."""
    recipe = load(path)
    assert from_table(tomllib.loads(to_toml(recipe.table()))) == recipe
    assert isinstance(recipe.run, Run)
    assert not isinstance(recipe.options, TinyRecipe)


@pytest.mark.parametrize(
    ("system", "override", "message"),
    [
        ("ganimation", "networks.conv_dim=-4", r"networks: conv_dim is -4, expected 1 \.\."),
        ("ganimation", "networks.critic_repeat_num=0", "critic_repeat_num is 0"),
        ("ganimation", "optimiser.lr=-1", r"optimiser: lr is -1"),
        ("ganimation", "optimiser.betas.0=2", r"betas is \(2.0, .*less than 1"),
        ("ganimation", "optimiser.clip=0.0", "clip is 0.0"),
        ("ganimation", "schedule.decay=0", "decay is 0"),
        ("ganimation", "data.size=1048576", r"in 16 \.\. 4096"),
        ("geogan", "generator.width=0", "generator: width is 0"),
        ("geogan", "generator.downsamples=-1", "downsamples is -1"),
        ("geogan", "critic.scales=0", "critic: scales is 0"),
        ("geogan", "optimiser.beta1=1.0", "beta1 is 1.0"),
        ("geogan", "optimiser.average=1.5", "average is 1.5"),
        ("geogan", "data.size=-64", r"in 16 \.\. 4096"),
    ],
)
def test_a_number_that_no_network_can_be_built_with_is_named(system, override, message) -> None:
    """By the recipe, before torch meets it."""
    with pytest.raises(RecipeError, match=message):
        load(CONFIGS / f"{system}_small.toml", [override])
