"""Command lines as Slurm's clients read them: getopt_long's forms and its exact complaints."""

from __future__ import annotations

from dataclasses import dataclass

from .model import ClientError


@dataclass
class Options:
    """Which options a program knows: ``"array=a"`` takes a value, ``"hold.H"`` does not.

    A letter may stand alone (``".M"``), a long name too (``"wrap="``).
    """

    program: str
    known: str
    code: int = 1

    def __post_init__(self) -> None:
        self.takes: dict[str, bool] = {}
        self.long_of: dict[str, str] = {}
        for word in self.known.split():
            name, kind, letter = word.partition("=" if "=" in word else ".")
            self.takes[name or letter] = kind == "="
            if letter:
                self.long_of[letter] = name or letter

    def fail(self, text: str) -> ClientError:
        """The complaint of getopt_long."""
        advice = f'Try "{self.program} --help" for more information'
        return ClientError(f"{self.program}: {text}\n{advice}\n", self.code)

    def parse(self, argv: list[str]) -> tuple[dict[str, str], list[str]]:
        """Splits a command line into options and the rest, which starts at the first word."""
        found: dict[str, str] = {}
        words = list(argv)
        while words and words[0].startswith("-") and words[0] != "-":
            word = words.pop(0)
            if word == "--":
                break
            if word.startswith("--"):
                self._long(word, words, found)
            else:
                self._short(word, words, found)
        return found, words

    def _long(self, word: str, words: list[str], found: dict[str, str]) -> None:
        name, given, value = word[2:].partition("=")
        if name not in self.takes:
            raise self.fail(f"unrecognized option '{word}'")
        if self.takes[name] and not given:
            if not words:
                raise self.fail(f"option '--{name}' requires an argument")
            value = words.pop(0)
        found[name] = value

    def _short(self, word: str, words: list[str], found: dict[str, str]) -> None:
        letters = word[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            if letter not in self.long_of:
                raise self.fail(f"invalid option -- '{letter}'")
            name = self.long_of[letter]
            if not self.takes[name]:
                found[name] = ""
                continue
            if not letters and not words:
                raise self.fail(f"option requires an argument -- '{letter}'")
            found[name] = letters or words.pop(0)
            return
