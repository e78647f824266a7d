"""The operations of the platform: the one table that daemon, REST API, its document and the command line use.

``path`` is below ``/api/v1``; a name in braces is a field of the request, the others are in the query of a
GET or DELETE and in the JSON body of everything else. ``access`` says who may call at all; what belongs to
somebody is looked at by the operation. ``scope`` is what an API token needs; None: no token will do, it takes
a session.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from gkmd.api import requests as q
from gkmd.api import results as r
from gkmd.api.nouns import Scope

Access: TypeAlias = Literal["anyone", "signed-in", "sender", "operator"]
Method: TypeAlias = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]


@dataclass(frozen=True, slots=True)
class Operation:
    """``status`` is the HTTP status of success."""

    name: str
    method: Method
    path: str
    request: type[Any]
    result: type[Any]
    access: Access
    scope: Scope | None
    summary: str

    @property
    def changes(self) -> bool:
        return self.method != "GET"

    @property
    def status(self) -> int:
        return 201 if self.method == "POST" else 200


def _table(*operations: Operation) -> dict[str, Operation]:
    return {operation.name: operation for operation in operations}


# fmt: off
OPERATIONS: Final = _table(
    # Signing in
    Operation("sign-in", "POST", "/sessions", q.SignIn, r.SignedIn, "anyone", None, "Sign in by password"),
    Operation("passkey-sign-in-begin", "POST", "/sessions/passkey/challenge", q.PasskeySignInBegin, r.Options, "anyone", None, "Begin to sign in by passkey"),
    Operation("passkey-sign-in", "POST", "/sessions/passkey", q.PasskeySignIn, r.SignedIn, "anyone", None, "Sign in by passkey"),
    Operation("sign-out", "DELETE", "/sessions/current", q.Nothing, r.Nothing, "signed-in", None, "Sign out"),
    Operation("sign-up", "POST", "/accounts", q.SignUp, r.AccountView, "anyone", None, "Make an account of a receiver, where the operator allows it"),
    Operation("me", "GET", "/me", q.Nothing, r.AccountView, "signed-in", "read", "Who am I"),
    Operation("password-change", "PUT", "/me/password", q.ChangePassword, r.Nothing, "signed-in", None, "Change the password; other sessions end"),
    Operation("totp-begin", "POST", "/me/totp", q.Nothing, r.TotpSecret, "signed-in", None, "A secret for one-time codes"),
    Operation("totp-confirm", "PUT", "/me/totp", q.ConfirmCode, r.Nothing, "signed-in", None, "Ask for one-time codes from now on"),
    Operation("totp-remove", "POST", "/me/totp/removal", q.ConfirmPassword, r.Nothing, "signed-in", None, "Ask for one-time codes no more"),
    Operation("passkey-begin", "POST", "/me/passkeys/challenge", q.PasskeyBegin, r.Options, "signed-in", None, "Begin to register a passkey"),
    Operation("passkey-add", "POST", "/me/passkeys", q.PasskeyAdd, r.PasskeyView, "signed-in", None, "Register a passkey"),
    Operation("passkey-remove", "DELETE", "/me/passkeys/{id}", q.ById, r.Nothing, "signed-in", None, "Remove a passkey"),
    Operation("session-list", "GET", "/me/sessions", q.Nothing, r.Sessions, "signed-in", None, "My sessions"),
    Operation("sessions-end", "DELETE", "/me/sessions", q.Nothing, r.Nothing, "signed-in", None, "End all my other sessions"),
    Operation("token-create", "POST", "/me/tokens", q.CreateToken, r.NewToken, "signed-in", None, "Make an API token"),
    Operation("token-list", "GET", "/me/tokens", q.Nothing, r.Tokens, "signed-in", None, "My API tokens"),
    Operation("token-revoke", "DELETE", "/me/tokens/{id}", q.ById, r.Nothing, "signed-in", None, "Revoke an API token"),
    # Users
    Operation("user-list", "GET", "/users", q.ListUsers, r.Accounts, "operator", "operate", "Users"),
    Operation("user-add", "POST", "/users", q.AddUser, r.AccountView, "operator", "operate", "Add a user"),
    Operation("user-show", "GET", "/users/{login}", q.ByLogin, r.AccountView, "operator", "operate", "A user"),
    Operation("user-change", "PATCH", "/users/{login}", q.ChangeUser, r.AccountView, "operator", "operate", "Change a user"),
    Operation("user-forget", "DELETE", "/users/{login}", q.ByLogin, r.Forgotten, "operator", "operate", "Forget a user"),
    Operation("user-balance", "GET", "/users/{login}/balance", q.ByLogin, r.BalanceView, "operator", "operate", "What a user has, owes and has earned"),
    Operation("user-credit", "POST", "/users/{login}/credits", q.CreditUser, r.BalanceView, "operator", "operate", "Put money that was received on a user's balance"),
    Operation("user-settle", "POST", "/users/{login}/settlements", q.CreditUser, r.BalanceView, "operator", "operate", "A user has paid an invoice"),
    Operation("user-pay-out", "POST", "/users/{login}/payouts", q.CreditUser, r.BalanceView, "operator", "operate", "A sender's earnings were paid out"),
    Operation("user-pay-back", "POST", "/users/{login}/repayments", q.CreditUser, r.BalanceView, "operator", "operate", "A user was paid back from the balance"),
    # Reservations
    Operation("reserve", "POST", "/reservations", q.Reserve, r.ReservationView, "sender", "reserve", "Reserve a transmission"),
    Operation("reservation-check", "POST", "/reservations/check", q.Reserve, r.Checked, "sender", "reserve", "What would be wrong with a reservation"),
    Operation("reservation-list", "GET", "/reservations", q.ListReservations, r.Reservations, "sender", "read", "My reservations; an operator sees all"),
    Operation("reservation-show", "GET", "/reservations/{id}", q.ById, r.ReservationView, "sender", "read", "A reservation"),
    Operation("reservation-change", "PATCH", "/reservations/{id}", q.ChangeReservation, r.ReservationView, "sender", "reserve", "Change, extend or shorten a reservation"),
    Operation("reservation-cancel", "DELETE", "/reservations/{id}", q.CancelReservation, r.ReservationView, "sender", "reserve", "Cancel a reservation; what was charged is refunded"),
    Operation("sender-ticket", "POST", "/reservations/{id}/sender-tickets", q.SenderTicket, r.TicketView, "sender", "reserve", "A ticket for a sender's host"),
    Operation("names-list", "GET", "/reservations/{id}/names", q.NamesOf, r.Names, "sender", "read", "The names on the list"),
    Operation("name-remove", "DELETE", "/reservations/{id}/names/{name}", q.NameRemove, r.Nothing, "sender", "reserve", "Take a name off the list"),
    Operation("names-begin", "POST", "/reservations/{id}/imports", q.ById, r.Import, "sender", "reserve", "Begin to import a list"),
    Operation("names-add", "POST", "/reservations/{id}/imports/{import_id}/names", q.NamesAdd, r.Import, "sender", "reserve", "Add names to an import"),
    Operation("names-commit", "PUT", "/reservations/{id}/imports/{import_id}", q.NamesCommit, r.Import, "sender", "reserve", "Make the import the list, as a whole"),
    Operation("names-abort", "DELETE", "/reservations/{id}/imports/{import_id}", q.NamesImport, r.Nothing, "sender", "reserve", "Drop an import"),
    Operation("voucher-create", "POST", "/reservations/{id}/vouchers", q.CreateVouchers, r.NewVouchers, "sender", "reserve", "Make vouchers that admit"),
    Operation("voucher-list", "GET", "/reservations/{id}/vouchers", q.BatchesOf, r.Batches, "sender", "read", "Batches of vouchers"),
    Operation("voucher-revoke", "DELETE", "/reservations/{id}/vouchers/{batch}", q.RevokeBatch, r.Nothing, "sender", "reserve", "Revoke what is left of a batch"),
    Operation("receiver-list", "GET", "/reservations/{id}/receivers", q.ReceiversOf, r.Receivers, "sender", "read", "Who was admitted"),
    Operation("receiver-evict", "POST", "/reservations/{id}/receivers/{party}/eviction", q.Evict, r.Nothing, "sender", "reserve", "Evict a receiver"),
    Operation("statement", "GET", "/reservations/{id}/statement", q.StatementOf, r.Statement, "sender", "read", "The statement of a reservation"),
    Operation("statistics", "GET", "/reservations/{id}/statistics", q.ById, r.Statistics, "sender", "read", "The statistics of a reservation"),
    # Receivers
    Operation("catalogue", "GET", "/transmissions", q.Catalogue, r.Transmissions, "anyone", "read", "Transmissions that are on or coming"),
    Operation("transmission", "GET", "/transmissions/{id}", q.ById, r.Transmission, "anyone", "read", "A transmission"),
    Operation("ticket-issue", "POST", "/transmissions/{id}/tickets", q.IssueTicket, r.TicketView, "signed-in", "tickets", "Get a ticket"),
    Operation("ticket-list", "GET", "/tickets", q.ListTickets, r.Tickets, "signed-in", "tickets", "My tickets"),
    Operation("ticket-show", "GET", "/tickets/{id}", q.ById, r.TicketView, "signed-in", "tickets", "A ticket with its member configuration"),
    Operation("ticket-revoke", "DELETE", "/tickets/{id}", q.ById, r.Nothing, "signed-in", "tickets", "Revoke a ticket"),
    Operation("voucher-redeem", "POST", "/me/vouchers", q.RedeemVoucher, r.BalanceView, "signed-in", "billing", "Put a voucher's worth on my balance"),
    Operation("balance", "GET", "/me/balance", q.Nothing, r.BalanceView, "signed-in", "billing", "My balance"),
    Operation("payment-begin", "POST", "/me/payments", q.BeginPayment, r.PaymentView, "signed-in", "billing", "Begin to pay; `url` is where"),
    Operation("payment-list", "GET", "/me/payments", q.ListPayments, r.Payments, "signed-in", "billing", "My payments, and the providers"),
    Operation("payment-show", "GET", "/me/payments/{id}", q.ById, r.PaymentView, "signed-in", "billing", "A payment"),
    Operation("payment-started", "PUT", "/me/payments/{id}", q.PaymentStarted, r.PaymentView, "signed-in", "billing", "The provider's own id of a payment"),
    Operation("provider-call", "POST", "/providers/{provider}", q.ProviderCall, r.Nothing, "anyone", None, "A payment provider's signed call"),
    # Operators
    Operation("ledger", "GET", "/ledger", q.ListAccounts, r.Ledger, "operator", "operate", "The ledger's accounts"),
    Operation("ledger-entries", "GET", "/ledger/entries", q.ListEntries, r.Entries, "operator", "operate", "The ledger's entries"),
    Operation("audit", "GET", "/audit", q.ListAudit, r.Audit, "operator", "operate", "The audit log"),
    Operation("audit-verify", "POST", "/audit/verification", q.Nothing, r.AuditVerified, "operator", "operate", "Verify the chain of the audit log"),
    Operation("value-voucher-create", "POST", "/vouchers", q.CreateValueVouchers, r.NewVouchers, "operator", "operate", "Make vouchers that are worth money"),
    Operation("value-voucher-list", "GET", "/vouchers", q.ListBatches, r.Batches, "operator", "operate", "Batches of vouchers that are worth money"),
    Operation("value-voucher-revoke", "DELETE", "/vouchers/{id}", q.ById, r.Nothing, "operator", "operate", "Revoke what is left of a batch that is worth money"),
    Operation("members", "GET", "/members", q.MembersOf, r.Members, "operator", "operate", "Members of the groups"),
    Operation("health", "GET", "/health", q.Nothing, r.Health, "operator", "operate", "How the server is"),
    Operation("metrics", "GET", "/metrics", q.Nothing, r.Metrics, "operator", "operate", "Metrics for Prometheus"),
)

# What the portal says about itself, on its own socket only. They are no part of the REST API: nobody but the
# portal writes such lines of the audit log.
REPORTS: Final = _table(
    Operation("refusal-report", "POST", "", q.RefusalReport, r.Nothing, "anyone", None, "A request was refused before it came to the key server"),
    Operation("provider-report", "POST", "", q.ProviderReport, r.Nothing, "signed-in", "billing", "How a payment provider took a payment that was begun"),
)
# fmt: on
PORTALS: Final = OPERATIONS | REPORTS
