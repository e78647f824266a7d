"""The platform between senders and receivers: accounts, reservations, admission, money, audit. Pure."""
