"""Whether somebody is who they say: name and password, slowly and without telling which was wrong.

    throttle (address, then name)  ->  look the account up  ->  Argon2id, for unknown names too
    ->  count the failure, or forgive the name its earlier ones  ->  disabled accounts stay out

An address's failures are not forgiven by a success: who has one account could guess at others.
New accounts of an address are counted the same way, apart from its failures.
"""

from typing import Final

from dfs.accounts.account_rows import Account, account_by_name
from dfs.accounts.passwords import Passwords
from dfs.accounts.throttle import Patience, Throttle
from dfs.base.clock import Clock
from dfs.base.errors import AccountDisabled, WrongPassword
from dfs.base.events import Emitter, Event
from dfs.meta.session import Reader
from dfs.settings.sections import AccountsConfig

ADDRESS_FREE_FACTOR: Final = 10  # many users may share an address
ADDRESS_LEAK_S: Final = 6.0  # ten failures a minute
LEAK_MIN_S: Final = 1.0


class LoginCheck:
    """See the module."""

    def __init__(
        self,
        reader: Reader,
        passwords: Passwords,
        *,
        clock: Clock,
        config: AccountsConfig,
        emit: Emitter,
    ) -> None:
        self._reader = reader
        self._passwords = passwords
        self._emit = emit
        free, cap_s = config.login_failures_free, config.login_delay_cap_s
        by_name = Patience(free, cap_s, max(cap_s, LEAK_MIN_S))
        by_address = Patience(free * ADDRESS_FREE_FACTOR, cap_s, ADDRESS_LEAK_S)
        self._by_name = Throttle(by_name, of="failed logins to this account", clock=clock)
        self._by_address = Throttle(by_address, of="failed logins from here", clock=clock)
        self._registering = Throttle(by_address, of="new accounts from here", clock=clock)

    def identify(self, name: str, password: str, address: str) -> Account:
        """The account whose name and password these are.

        Raises:
            WrongPassword: no such user, or not its password.
            AccountDisabled: right, but kept out.
            Throttled: too many failures before; nothing was checked.
            Overloaded: too many logins at once.
        """
        self._by_address.check(address)
        self._by_name.check(name)
        with self._reader.view() as connection:
            account = account_by_name(connection, name)
        right = self._passwords.matches(account.password_hash if account else None, password)
        if account is None or not right:
            self._by_address.failed(address)
            self._by_name.failed(name)
            self._refused(name, address, "wrong_password")
            raise WrongPassword("wrong name or password")
        self._by_name.forgive(name)
        if account.disabled:
            self._refused(name, address, "account_disabled")
            raise AccountDisabled(f"the account {name} is disabled")
        return account

    def admit_registration(self, address: str) -> None:
        """Count an account made from an address, as slowly as failed logins.

        Raises:
            Throttled: too many before.
        """
        self._registering.check(address)
        self._registering.failed(address)

    def _refused(self, name: str, address: str, reason: str) -> None:
        self._emit.emit(Event.LOGIN_REFUSED, name=name[:64], address=address, reason=reason)
