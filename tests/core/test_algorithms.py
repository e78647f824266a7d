from gkmd.core import algorithms as a
from gkmd.core.rng import SeededRng


def test_names_and_transform_numbers_are_unique_within_a_kind() -> None:
    for kind in (a.CIPHERS, a.INTEGRITIES, a.PRFS, a.KEY_EXCHANGES, a.KEY_WRAPS):
        assert len({x.name for x in kind}) == len(kind)
    assert len(a.CIPHER_BY_TRANSFORM) == len(a.CIPHERS)
    assert len(a.KEY_EXCHANGE_BY_TRANSFORM) == len(a.KEY_EXCHANGES)


def test_the_keying_material_of_each_cipher_is_its_key_and_its_salt() -> None:
    for cipher in a.CIPHERS:
        key_bits = cipher.key_bits or 256  # ChaCha20-Poly1305, RFC 7634 3: 256-bit key, 32-bit salt
        assert cipher.key_octets == key_bits // 8 + cipher.salt_octets
        assert cipher.aead == (cipher.block_octets == 1)


def test_a_seeded_stream_repeats_and_differs_by_seed() -> None:
    first, again, other = SeededRng(7), SeededRng(7), SeededRng(8)
    drawn = [first(n) for n in (1, 64, 100)]
    assert drawn == [again(n) for n in (1, 64, 100)]
    assert [len(d) for d in drawn] == [1, 64, 100]
    assert other(64) != drawn[1]
