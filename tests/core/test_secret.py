import pickle

import pytest

from gkmd.core.change import RekeySa
from gkmd.core.secret import SecretBytes

KEY = bytes(range(200, 232))


def test_no_way_of_printing_shows_the_octets() -> None:
    secret = SecretBytes(KEY)
    record = RekeySa(b"s" * 16, secret, SecretBytes(KEY), 0.0, 1.0, 0)
    for text in (repr(secret), str(secret), f"{secret}", f"{secret!r:>40}", repr(record), format(secret)):
        assert "32 octets" in text
        assert not any(KEY[i : i + 4].hex() in text or repr(KEY[i : i + 4])[2:-1] in text for i in range(28))


def test_it_is_compared_by_value_and_never_with_bare_octets() -> None:
    assert SecretBytes(KEY) == SecretBytes(KEY)
    assert SecretBytes(KEY) != SecretBytes(KEY[:-1])
    assert SecretBytes(KEY) != KEY
    assert len({SecretBytes(KEY), SecretBytes(KEY)}) == 1


def test_it_is_not_pickled() -> None:
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(SecretBytes(KEY))


def test_it_keeps_its_own_copy() -> None:
    octets = bytearray(KEY)
    secret = SecretBytes(octets)
    octets[0] = 0
    assert secret.reveal() == KEY
