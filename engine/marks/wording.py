"""What the badge says, by language."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from engine.types import Mode


@dataclass(frozen=True, slots=True)
class Wording:
    """label: what artificial intelligence is called for short. generated, modified: a word beside it."""

    label: str
    generated: str
    modified: str

    def text(self, mode: Mode | None = None) -> str:
        """The label, and with a mode the word for what it makes: a puppet is generated, an edit modifies."""
        if mode is None:
            return self.label
        return f"{self.label} {self.modified if mode is Mode.EDIT else self.generated}"


LANGUAGES: Final[dict[str, Wording]] = {
    "bg": Wording("ИИ", "ГЕНЕРИРАНО", "ПРОМЕНЕНО"),
    "cs": Wording("AI", "VYTVOŘENO", "UPRAVENO"),
    "da": Wording("AI", "GENERERET", "ÆNDRET"),
    "de": Wording("KI", "GENERIERT", "VERÄNDERT"),
    "el": Wording("ΤΝ", "ΔΗΜΙΟΥΡΓΗΘΗΚΕ", "ΤΡΟΠΟΠΟΙΗΘΗΚΕ"),
    "en": Wording("AI", "GENERATED", "MODIFIED"),
    "es": Wording("IA", "GENERADO", "MODIFICADO"),
    "fr": Wording("IA", "GÉNÉRÉ", "MODIFIÉ"),
    "hu": Wording("MI", "GENERÁLT", "MÓDOSÍTOTT"),
    "it": Wording("IA", "GENERATO", "MODIFICATO"),
    "ja": Wording("AI", "生成", "加工"),
    "ko": Wording("AI", "생성", "수정"),
    "nb": Wording("KI", "GENERERT", "ENDRET"),
    "nl": Wording("AI", "GEGENEREERD", "BEWERKT"),
    "pl": Wording("SI", "WYGENEROWANE", "ZMIENIONE"),
    "pt": Wording("IA", "GERADO", "MODIFICADO"),
    "ro": Wording("IA", "GENERAT", "MODIFICAT"),
    "ru": Wording("ИИ", "СОЗДАНО", "ИЗМЕНЕНО"),
    "sv": Wording("AI", "GENERERAD", "ÄNDRAD"),
    "tr": Wording("YZ", "ÜRETİLDİ", "DEĞİŞTİRİLDİ"),
    "uk": Wording("ШІ", "СТВОРЕНО", "ЗМІНЕНО"),
    "zh": Wording("人工智能", "生成", "修改"),
}
"""By ISO 639-1 code."""
