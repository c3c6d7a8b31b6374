"""Pure: which passwords are good enough to be set.

Length does the work; beyond it only what guessers try first is refused (NIST SP 800-63B 5.1.1.2):
common passwords, the user's own name, and a few characters over and over.  There are no rules of
composition.  How passwords are kept: `passwords.py`.
"""

import unicodedata
from typing import Final

from dfs.base.errors import BadRequest

PASSWORD_BYTES_MAX: Final = 1024
DISTINCT_MIN: Final = 5

# The most used passwords of published lists that are long enough to pass the length rule.
_LISTED: Final = """
    000000000000 0123456789 01234567890 111111111111 112233445566 1122334455667 121212121212
    123123123123 12345678 123456789 1234567890 12345678900 12345678901 123456789012 1234567890123
    12345678910 123456789123 123456789abc 123456qwerty 123qwe123qwe 1q2w3e4r 1q2w3e4r5t 1q2w3e4r5t6y
    1qaz2wsx3edc 1qazxsw23edc abc123456789 abcd12345678 abcd1234abcd abcdefghijkl adminadmin
    adminadminadmin administrator administrator1 asdfasdfasdf asdfghjkl asdfghjkl123 baseball
    changeme changeme1234 changemenow defaultpassword football football1234 iloveyou iloveyou1234
    iloveyouforever letmein12345 letmeinplease liverpool123 manchester123 mypassword
    mypassword123 p@ssw0rd p@ssw0rd1234 p@ssword1234 passpasspass passw0rd passw0rd1234 password
    password0000 password1 password1234 password12345 password123456 passwordpassword princess
    princess1234 qazwsxedc123 qwerty12 qwerty123 qwerty123456 qwertyqwerty qwertyui qwertyuiop
    qwertyuiop123 qwertyuiop12 qwertyuiopas sunshine sunshine1234 superman1234 trustno1
    trustno1trustno1 welcome12345 welcome1234 zaq12wsxcde3 zxcvbnm12345 zxcvbnmzxcvbnm
    """
_COMMON: Final = frozenset(_LISTED.split())


def password_bytes(password: str) -> bytes:
    """What is hashed: the same bytes however a keyboard composed the letters (NFC)."""
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")


def check_password(password: str, *, name: str, length_min: int) -> None:
    """Refuse a password that guessers would find.

    Args:
        name: the user it is for.
        length_min: in characters.

    Raises:
        BadRequest: with the rule; the password itself is in no message.
    """
    plain = unicodedata.normalize("NFC", password)
    if len(plain) < length_min:
        raise BadRequest(f"the password is too short: it needs {length_min} characters")
    if len(password_bytes(password)) > PASSWORD_BYTES_MAX:
        raise BadRequest(f"the password is too long: it may have {PASSWORD_BYTES_MAX} bytes")
    guess = plain.casefold()
    weak = guess in _COMMON or len(set(guess)) < DISTINCT_MIN or _repeats(guess, name)
    if weak:
        raise BadRequest(
            "the password is one that is tried first",
            hint="avoid common passwords, your name, and the same few characters over and over",
        )


def _repeats(guess: str, name: str) -> bool:
    """Whether nothing much is left of the password without the user's name."""
    return len(guess.replace(name.casefold(), "")) < DISTINCT_MIN
