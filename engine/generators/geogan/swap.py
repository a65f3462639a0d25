"""An attribute exchanged between two pictures."""

from __future__ import annotations

from fractions import Fraction

from engine.blend import paste
from engine.features.shape import fit_shape
from engine.features.still import neutral_behind
from engine.generators.geogan.generator import Geogan
from engine.generators.geogan.runner import GeoganRunner
from engine.types import U8, Controls, Drive, Features, Frame, Mode, Source


def swap(generator: Geogan, runner: GeoganRunner, one: Source, other: Source) -> tuple[U8, U8]:
    """`one` with the attribute of `other`, and `other` without it: uint8 pictures of their own sizes.

    The second is what the removal network makes of `other`, told where the attribute is by what `one` would take.
    Raises InputError for a bundle without removal, PortError when the network's answer cannot be shown.
    """
    return (
        _edited(generator, runner, one, other, Controls()),
        _edited(generator, runner, other, one, Controls(remove=True)),
    )


def _edited(generator: Geogan, runner: GeoganRunner, face: Source, donor: Source, controls: Controls) -> U8:
    state = generator.begin(generator.prepare(donor, Mode.EDIT))
    shape = fit_shape(face.face.points)
    frame = Frame(face.rgb, 0, Fraction(1), 0.0)
    drive = Drive(frame, face.face, Features(0.0, shape=shape), neutral_behind(shape), controls)
    answer = runner.run([generator.inputs(state, drive)])[0]
    if isinstance(answer, Exception):
        raise answer
    return paste(generator.patch(state, answer))
