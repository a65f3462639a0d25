"""CLIP's text encoder (Radford et al. 2021), read from files that the user names: a sentence to its feature.

Names are those of the official state dict; what it holds of the picture's side is left alone. The official file is a
TorchScript archive, which is code and is not opened: `torch.save(torch.jit.load(FILE).state_dict(), NEW)` in a process
of one's own makes a state dict of it. Widths, layers and the number of merges follow from the shapes.
"""

from __future__ import annotations

import html
import itertools
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from trainers.containers import Account, read_state_dict
from trainers.errors import CheckpointError

_HEAD = 64
_START, _END = "<|startoftext|>", "<|endoftext|>"
_WORDS = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|(?:[^\s\w]|_)+")
_MOST_BYTES = 16 * 2**20


class _Block(nn.Module):
    """Attention to what stands before, then two layers, each behind a normalisation and beside a way round it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, max(1, width // _HEAD), batch_first=True)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)})

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        seen = self.ln_1(x)
        x = x + self.attn(seen, seen, seen, need_weights=False, attn_mask=mask)[0]
        wide = self.mlp["c_fc"](self.ln_2(x))
        answer: Tensor = x + self.mlp["c_proj"](wide * torch.sigmoid(1.702 * wide))
        return answer


class TextEncoder(nn.Module):
    """forward(tokens int64 (B, length)) -> features (B, features), not normalised. The text's is that of its last
    token, which has the highest number."""

    def __init__(self, words: int, length: int, width: int, layers: int, features: int) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(words, width)
        self.positional_embedding = nn.Parameter(torch.zeros(length, width))
        blocks = nn.ModuleList(_Block(width) for _ in range(layers))
        self.transformer = nn.ModuleDict({"resblocks": blocks})
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.zeros(width, features))

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.token_embedding(tokens) + self.positional_embedding
        ahead = torch.full((tokens.shape[1], tokens.shape[1]), -torch.inf, device=x.device).triu(1)
        for block in self.transformer["resblocks"].children():
            x = block(x, ahead)
        last = self.ln_final(x)[torch.arange(len(tokens)), tokens.argmax(1)]
        answer: Tensor = last @ self.text_projection
        return answer


class Tokeniser:
    """Byte pairs: a word's characters are joined, pair by pair, in the order of the merges.

    merges: pairs of parts, the earlier the sooner. Numbers: 256 bytes, the same at a word's end, the merges, two marks.
    """

    def __init__(self, merges: Sequence[tuple[str, str]]) -> None:
        self._letters = _letters()
        parts = [*self._letters.values()]
        parts += [f"{one}</w>" for one in parts] + ["".join(pair) for pair in merges] + [_START, _END]
        self._numbers = {part: number for number, part in enumerate(parts)}
        self._ranks = {pair: rank for rank, pair in enumerate(merges)}

    def __len__(self) -> int:
        return len(self._numbers)

    def __call__(self, text: str, length: int) -> list[int]:
        """So many numbers: between the marks, cut off where they do not fit, zeros behind."""
        plain = " ".join(html.unescape(html.unescape(text)).split()).lower()
        found = [self._numbers[_START]]
        for word in _WORDS.findall(plain):
            found += [
                self._numbers[part] for part in self._joined([self._letters[byte] for byte in word.encode()])
            ]
        found = [*found[: length - 1], self._numbers[_END]]
        return found + [0] * (length - len(found))

    def _joined(self, parts: list[str]) -> list[str]:
        parts = [*parts[:-1], f"{parts[-1]}</w>"]
        while len(parts) > 1:
            pairs = list(itertools.pairwise(parts))
            best = min(pairs, key=lambda pair: self._ranks.get(pair, len(self._ranks)))
            if best not in self._ranks:
                break
            merged: list[str] = []
            for part in parts:
                if merged and (merged[-1], part) == best:
                    merged[-1] += part
                else:
                    merged.append(part)
            parts = merged
        return parts


def _letters() -> dict[int, str]:
    """A letter that can be seen for every byte: itself where it has one, else one from 256 on."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in seen]
    return {byte: chr(byte) for byte in seen} | {byte: chr(256 + place) for place, byte in enumerate(others)}


# --- reading ---------------------------------------------------------------------------------------


def open_text_encoder(weights: Path, merges: Path, prompts: Path | None = None) -> Callable[[str], Tensor]:
    """What gives a text's features (prompts, features), one for each sentence that holds it.

    merges: bpe_simple_vocab_16e6.txt, plain or .gz. prompts: a file of sentences with {}, one a line; None: the text by
    itself. Raises CheckpointError for files that are missing or of something else.
    """
    for path in (weights, merges, *([] if prompts is None else [prompts])):
        if not path.is_file():
            raise CheckpointError(f"{path}: no such file; CLIP's texts need it, or give the features as .npy")
    sentences = ["{}"] if prompts is None else _sentences(prompts)
    encoder = encoder_of(_stored(weights), str(weights))
    words, length = encoder.token_embedding.num_embeddings, len(encoder.positional_embedding)
    tokeniser = Tokeniser(_merges(merges, words - 2 * 256 - 2))
    if len(tokeniser) != words:
        raise CheckpointError(f"{merges}: makes {len(tokeniser)} tokens, expected the {words} of {weights}")

    @torch.no_grad()
    def features(text: str) -> Tensor:
        rows = [tokeniser(sentence.replace("{}", text), length) for sentence in sentences]
        return encoder(torch.tensor(rows)).double()  # type: ignore[no-any-return]

    return features


def encoder_of(stored: Mapping[str, Tensor], where: str) -> TextEncoder:
    """The encoder in a state dict. Raises CheckpointError, naming `where`, where it holds none."""
    words, places, projection = (
        stored.get(name) for name in ("token_embedding.weight", "positional_embedding", "text_projection")
    )
    layers = {name.split(".")[2] for name in stored if name.startswith("transformer.resblocks.")}
    if words is None or places is None or projection is None or not layers or words.ndim != 2:
        raise CheckpointError(f"{where}: holds no text encoder of CLIP under its official names")
    if projection.ndim != 2 or places.ndim != 2 or len(words) < 2 * 256 + 2:
        raise CheckpointError(f"{where}: its text encoder has other axes than CLIP's")
    shape = (len(words), len(places), words.shape[1], len(layers), projection.shape[1])
    encoder = TextEncoder(*shape)
    wanted = encoder.state_dict()
    account = Account("official", "CLIP's text encoder")
    chosen = {name: value.float() for name, value in stored.items() if name in wanted}
    weights = account.fit(chosen, wanted)
    if not account.whole:
        raise CheckpointError(f"{where}: {account.refusal()}")
    encoder.load_state_dict(weights)
    return encoder.requires_grad_(False).eval()


def _stored(path: Path) -> dict[str, Tensor]:
    try:
        return read_state_dict(path)
    except CheckpointError as error:
        raise CheckpointError(
            f"{error}; of CLIP's TorchScript archive take the state dict: "
            "torch.save(torch.jit.load(FILE).state_dict(), NEW)"
        ) from error


def _merges(path: Path, count: int) -> list[tuple[str, str]]:
    """The first line says the version; the file has more merges than CLIP has tokens."""
    lines = _text(path).splitlines()[1 : count + 1]
    pairs = [tuple(line.split()) for line in lines]
    if len(pairs) != count or any(len(pair) != 2 for pair in pairs):
        raise CheckpointError(f"{path}: expected a version and {count} lines of two parts each")
    return [(pair[0], pair[1]) for pair in pairs]


def _sentences(path: Path) -> list[str]:
    found = [line.strip() for line in _text(path).splitlines() if line.strip()]
    if not found or any("{}" not in line for line in found):
        raise CheckpointError(f"{path}: expected sentences with {{}} for the text, one a line")
    return found


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        if path.suffix == ".gz":
            data = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(data, _MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise CheckpointError(f"{path}: larger than {_MOST_BYTES >> 20} MiB, expected a list of words")
        return data.decode("utf-8")
    except (OSError, zlib.error, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: not readable as text ({error})") from error
