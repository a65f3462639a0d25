"""A manifest goes into a file, is found valid by C2PA's own reader, and tells of every change."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import c2pa
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from engine.errors import ConfigError, ProvenanceError
from engine.provenance import Ingredient, Made, SignerConfig, check, configured, read, sign
from engine.provenance.made import LABEL
from tests.engine.provenance.conftest import C2PA, EMAIL, Authority

MADE = Made(
    "render",
    "Mesh flow",
    "Apache-2.0",
    "ab" * 32,
    trained=False,
    consent=("0f" * 16,),
    session="a session",
    marks=("badge", "watermark"),
    software="0.1.0",
)


def _codes(path: Path) -> list[str]:
    """What C2PA's reader, with no setting of ours, has to remark."""
    with c2pa.Reader(str(path)) as reader:
        told = json.loads(reader.json())
    return [told["validation_state"], *(one["code"] for one in told.get("validation_status", []))]


@pytest.mark.parametrize("kind", ["clip", "portrait"])
def test_the_library_s_own_reader_finds_it_valid_and_remarks_the_signer_alone(
    kind: str, request: pytest.FixtureRequest
) -> None:
    """With the development certificate the one remark is that nobody vouches for the signer."""
    path = request.getfixturevalue(kind)
    sign(path, MADE)
    assert _codes(path) == ["Valid", "signingCredential.untrusted"]


def test_it_says_what_made_the_file_of_what(clip: Path, portrait: Path) -> None:
    """Source type, actions, ingredients, bundle, licence, consent and marks stand in it."""
    parts = [Ingredient(portrait, "source", sha256="1" * 64), Ingredient(clip, "driver", seen=False)]
    out = clip.with_name("out.mp4")
    out.write_bytes(clip.read_bytes())
    sign(out, MADE, ingredients=parts)
    found = read(out)
    assert found is not None
    assert (found.state, found.source_type) == ("valid", "compositeSynthetic")
    assert found.actions == ("c2pa.created", "c2pa.placed", "c2pa.edited", "c2pa.watermarked.unbound")
    assert [(one.title, one.relation, one.state) for one in found.parts] == [
        ("source", "componentOf", None),
        ("driver", "inputTo", None),
    ]
    assert found.made["bundle"] == {"title": "Mesh flow", "licence": "Apache-2.0", "sha256": "ab" * 32}
    assert (found.consent, found.made["session"]) == (MADE.consent, "a session")
    assert found.made["marks"] == ["badge", "watermark"]
    assert found.made["ingredients"][0] == {"role": "source", "sha256": "1" * 64}
    assert (found.generator, found.title) == ("Marotte 0.1.0", "out.mp4")


def test_no_face_and_no_file_s_name_goes_into_it(clip: Path, portrait: Path) -> None:
    """A driver may have a person's name; no thumbnail of anybody is made."""
    named = portrait.rename(portrait.with_name("anna.jpg"))
    before = clip.stat().st_size
    sign(clip, MADE, ingredients=[Ingredient(named)])
    with c2pa.Reader(str(clip)) as reader:
        told = reader.json()
    assert "anna" not in told
    assert "thumbnail" not in told
    assert clip.stat().st_size - before < 40_000


@pytest.mark.parametrize("made", [MADE, Made("render", "A network", "CC0-1.0", edits=True)])
def test_a_manifest_survives_two_generations_as_an_ingredient(
    clip: Path, plain_clip: Path, made: Made
) -> None:
    """What a driver's manifest says is still there, and holds, in the result's result."""
    sign(clip, MADE)
    last = clip
    for name in ("second.mp4", "third.mp4"):
        out = clip.with_name(name)
        out.write_bytes(plain_clip.read_bytes())
        sign(out, made, ingredients=[Ingredient(last, "driver")])
        last = out
    assert _codes(last) == ["Valid", "signingCredential.untrusted"]
    found = read(last)
    assert found is not None
    (second,) = found.parts
    (first,) = second.parts
    assert (second.state, first.state) == ("valid", "valid")
    assert second.relation == ("parentOf" if made.edits else "componentOf")


def test_one_changed_byte_of_the_picture_or_of_the_manifest_is_told(clip: Path) -> None:
    """In the coded frames, in the claim, in the signature: each is reported as broken, by both readers."""
    sign(clip, MADE)
    whole = clip.read_bytes()
    for marker, past in ((b"mdat", 200), (LABEL.encode() + b"\0", 300), (b"c2pa.signature", 200)):
        data = bytearray(whole)
        data[data.rindex(marker) + past] ^= 1
        clip.write_bytes(data)
        found = read(clip)
        assert found is not None, marker
        assert found.state == "broken", marker
        assert found.reasons


def test_a_changed_ingredient_is_told(clip: Path, plain_clip: Path) -> None:
    """The manifest that a driver brought along cannot be rewritten inside the result."""
    sign(clip, Made("render", "An earlier bundle", "CC0-1.0"))
    out = clip.with_name("second.mp4")
    out.write_bytes(plain_clip.read_bytes())
    sign(out, MADE, ingredients=[Ingredient(clip, "driver")])
    data = bytearray(out.read_bytes())
    data[data.index(b"An earlier bundle")] ^= 1
    out.write_bytes(data)
    found = read(out)
    assert found is not None
    assert found.state == "broken"
    assert any(reason.startswith("of an ingredient") for reason in found.reasons)


def test_files_without_a_manifest_have_none(clip: Path, portrait: Path, tmp_path: Path) -> None:
    """Absent is not broken: a plain file, and a kind of file that holds none."""
    text = tmp_path / "text.webm"
    text.write_bytes(b"\x1aE\xdf\xa3" + bytes(100))
    assert [read(path) for path in (clip, portrait, text)] == [None, None, None]


def test_what_holds_no_manifest_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    """A WebM cannot be signed; nothing of it is touched."""
    film = tmp_path / "film.webm"
    film.write_bytes(b"\x1aE\xdf\xa3" + bytes(100))
    with pytest.raises(
        ProvenanceError, match=r"film\.webm: its kind of file holds no C2PA manifest; expected MP4"
    ):
        sign(film, MADE)
    assert film.read_bytes() == b"\x1aE\xdf\xa3" + bytes(100)


def test_the_certificate_is_made_once_and_kept_from_others(clip: Path, state: Path) -> None:
    """Its file is this user's alone, and a second signature is by the same certificate."""
    check()
    (kept,) = state.iterdir()
    first = kept.read_bytes()
    if sys.platform != "win32":
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    check()
    assert kept.read_bytes() == first
    if sys.platform != "win32":
        kept.chmod(0o640)
        with pytest.raises(Exception, match="others can read or change it: chmod 600"):
            check()


@pytest.mark.parametrize(
    "key",
    [ec.generate_private_key(ec.SECP384R1()), Ed25519PrivateKey.generate(), None],
    ids=["P-384", "Ed25519", "P-256"],
)
def test_the_operator_s_certificate_signs_and_is_trusted_where_its_authority_is(
    clip: Path, authority: Authority, key, state: Path
) -> None:
    """Named in the state's folder it is used without an option, whatever its algorithm."""
    from cryptography.hazmat.primitives.serialization import Encoding

    chain, kept = authority.issue(key, purposes=(C2PA,))
    state.mkdir(exist_ok=True)
    (state / "signer.toml").write_text(f"certificate = {chain!r}\nkey = {kept!r}\n")
    sign(clip, MADE)
    found = read(clip)
    assert found is not None
    assert (found.state, found.signer) == ("valid", "A studio")
    trusted = read(clip, authority.root.public_bytes(Encoding.PEM).decode())
    assert trusted is not None
    assert (trusted.state, trusted.reasons) == ("trusted", ())


@pytest.mark.full
def test_an_rsa_key_signs(clip: Path, authority: Authority) -> None:
    """As PS256, which is what authorities issue most."""
    chain, kept = authority.issue(rsa.generate_private_key(65537, 2048))
    sign(clip, MADE, signer=SignerConfig(chain, kept))
    found = read(clip)
    assert found is not None
    assert found.state == "valid"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"days": -1}, "only$"),
        ({"self_signed": True, "subject": None}, "it signed itself"),
        ({"signs": False}, "its key usage has no digital signature"),
        ({"purposes": ("1.3.6.1.5.5.7.3.1",)}, "its extended key usage has neither"),
        (
            {"subject": x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nobody")])},
            r"its subject has no organisation \(O\)",
        ),
    ],
)
def test_a_certificate_that_cannot_sign_is_told_in_one_line(
    clip: Path, authority: Authority, wrong: dict, said: str
) -> None:
    """Before anything is signed, and in words of the certificate; the file stays."""
    before = clip.read_bytes()
    chain, kept = authority.issue(**wrong)
    with pytest.raises(ProvenanceError, match=said) as error:
        sign(clip, MADE, signer=SignerConfig(chain, kept))
    assert "\n" not in str(error.value)
    assert "PRIVATE" not in str(error.value)
    assert clip.read_bytes() == before


def test_a_key_of_another_certificate_or_algorithm_is_told(authority: Authority, tmp_path: Path) -> None:
    """Mixed up files are found before the work, not after it."""
    chain, kept = authority.issue()
    first = Path(chain).rename(tmp_path / "first.pem")
    _, other = authority.issue()
    with pytest.raises(ProvenanceError, match="its first certificate is not that of the key"):
        check(SignerConfig(str(first), other))
    with pytest.raises(ProvenanceError, match="algorithm ed25519: the key is for es256"):
        check(SignerConfig(chain, kept, algorithm="ed25519"))
    with pytest.raises(ProvenanceError, match=r"the key .*nowhere\.pem cannot be read"):
        check(SignerConfig(chain, str(tmp_path / "nowhere.pem")))
    Path(kept).write_text("no key")
    with pytest.raises(ProvenanceError, match="expected a private key in PEM"):
        check(SignerConfig(chain, kept))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("certificat = 'a'", "did you mean 'certificate'"),
        ("certificate = 'a'", "expected both, or neither"),
        ("algorithm = 'es255'", "did you mean 'es256'"),
        ("time_authority = 'ftp://x'", "expected an address"),
        ("certificate = ", "cannot be read"),
    ],
)
def test_a_wrong_signer_file_names_what_is_wrong(state: Path, text: str, said: str) -> None:
    """A mistyped key must not lead to another certificate than the operator meant."""
    state.mkdir()
    (state / "signer.toml").write_text(text)
    with pytest.raises(ConfigError, match=said):
        configured()


def test_without_its_time_stamp_a_file_is_signed_all_the_same(clip: Path, authority: Authority) -> None:
    """The authority is another's machine: that it is away costs the time stamp, and a note says so."""
    chain, kept = authority.issue()
    config = SignerConfig(chain, kept, time_authority="http://127.0.0.1:9/")
    (note,) = sign(clip, MADE, signer=config)
    assert "gave no time stamp" in note
    found = read(clip)
    assert found is not None
    assert (found.state, found.signed) == ("valid", None)


def test_a_certificate_in_its_last_month_is_made_anew(state: Path) -> None:
    """A signature without a time stamp is good for as long as its certificate is."""
    import datetime as dt

    from engine.provenance.development import development

    then = dt.datetime.now(dt.UTC) - dt.timedelta(days=365 * 10 - 20)
    old = development(state, then)
    assert development(state, then) == old
    assert development(state) != old


def test_purposes_of_others_are_read_as_ours(clip: Path, authority: Authority) -> None:
    """A certificate for e-mail protection is one that every C2PA reader takes by itself."""
    chain, kept = authority.issue(purposes=(EMAIL,))
    sign(clip, MADE, signer=SignerConfig(chain, kept))
    assert _codes(clip) == ["Valid", "signingCredential.untrusted"]
