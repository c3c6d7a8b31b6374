"""What a NameNode does as its member wins and loses the lead: reigns begin and end here.

The member's words come in whichever thread has its turn and may not wait; what takes time is done
one after the other in a thread of the helm's own:

    it leads        what it follows with is closed; the reign is built; the front becomes its
    it stands down  at once: the writer refuses all that waits, the front points to the leader;
                    then: the reign is closed, and it follows again

While a reign is being built or taken apart, the front points away.  Nobody is told anything by a
reign that is over: its writer was deposed, and what it reads is refused after it was read.
"""

import threading
from collections.abc import Callable
from functools import partial
from typing import Final

from dfs.base.clock import Clock
from dfs.base.errors import DfsError, NotLeader
from dfs.base.events import Emitter, Event
from dfs.base.ids import Epoch
from dfs.daemons.namenode_following import Following
from dfs.daemons.namenode_reign import Premises, Reign
from dfs.failover.lane import Lane
from dfs.failover.notes import Notes
from dfs.ha.effects import Note, StandDown
from dfs.meta.writer import Writer
from dfs.web.front import Front

CONFIRM_S: Final = 5.0
SETTLED_WITHIN_S: Final = 5.0  # a change that waits for a standby or for voters, when all is well
AGAIN_S: Final = 0.05


class Helm:
    """See the module.  A `Service` of a `MemberHost`.

    Args:
        front: what the port answers with.
        following: what this NameNode is while it follows.
        on_failure: ends the process.

    Attributes:
        premises: gives those of a reign in an epoch; set before the member starts.
        served: a reign's front was put in place once.
        idle: no reign has the database open, or is about to.
    """

    def __init__(
        self,
        front: Front,
        following: Following,
        *,
        notes: Notes,
        clock: Clock,
        emit: Emitter,
        on_failure: Callable[[str], None],
    ) -> None:
        self._front = front
        self._following = following
        self._notes = notes
        self._clock = clock
        self._emit = emit
        self._on_failure = on_failure
        self.premises: Callable[[int], Premises] | None = None
        self._lane = Lane("helm")
        self._lock = threading.Lock()
        self._epoch = 0  # that it leads in; 0 while it does not
        self._writer: Writer | None = None
        self._reign: Reign | None = None
        self._stopping = False
        self._confirmed = threading.Condition()
        self._reads = self._reads_confirmed = 0
        self.served = threading.Event()
        self.idle = threading.Event()
        self.idle.set()
        following.changed = self._show_following

    def start(self) -> None:
        """Follow, until told to lead."""
        self._following.open()
        self._show_following()
        self._lane.start()

    def stop(self, silence: Callable[[], None]) -> None:
        """Close what there is; a lead that comes now is not taken up.

        A change under way may wait for voters that never answer again.  It has its time; then the
        member falls silent, which takes the change back, and who waits for any is refused.

        Args:
            silence: has the member say nothing more.
        """
        with self._lock:
            self._stopping = True
        late = threading.Timer(SETTLED_WITHIN_S, self._give_way, (silence,))
        late.start()
        self._lane.finish(self._close_all)
        late.cancel()
        late.join()
        silence()

    def _give_way(self, silence: Callable[[], None]) -> None:
        """Nobody decides any more what becomes of the changes that wait."""
        silence()
        writer = self._writer
        if writer is not None:
            writer.depose(NotLeader("this NameNode stops"))

    @property
    def reign(self) -> Reign | None:
        """The one that serves; None while none does."""
        return self._reign

    def writer(self) -> Writer | None:
        """That of the reign, also while it is being built."""
        return self._writer

    # ---- what the member says (`Service`)

    def lead(self, epoch: int) -> None:
        """See `Service`."""
        with self._lock:
            self._epoch = epoch
            self.idle.clear()
        self._lane.do(partial(self._begin, epoch))

    def stand_down(self, why: StandDown) -> None:
        """See `Service`."""
        error = NotLeader(why.reason, details=self._following.whom_to_ask())
        with self._lock:
            self._epoch = 0
            writer = self._writer
        self._show_following()
        if writer is not None:
            writer.depose(error)
        with self._confirmed:
            self._confirmed.notify_all()
        self._lane.do(self._end)

    def acknowledge(self, txid: int) -> None:
        """See `Service`."""
        writer = self._writer
        if writer is not None:
            writer.acknowledge(txid)

    def confirm_reads(self, number: int) -> None:
        """See `Service`."""
        with self._confirmed:
            self._reads_confirmed = max(self._reads_confirmed, number)
            self._confirmed.notify_all()

    def note(self, note: Note) -> None:
        """See `Service`."""
        self._emit.emit(Event.HA_NOTED, kind=note.kind.value, text=note.text)
        self._notes.add(note, self._clock.now_ms())

    # ---- strict reads

    def await_confirmation(self, ask: Callable[[int], None]) -> bool:
        """Whether voters say, after this call began, that this NameNode leads.

        Args:
            ask: passes the number of a read to the member.
        """
        with self._confirmed:
            self._reads += 1
            number = self._reads
        ask(number)
        with self._confirmed:
            self._confirmed.wait_for(
                lambda: self._reads_confirmed >= number or not self._epoch, CONFIRM_S
            )
            return self._reads_confirmed >= number

    # ---- in the helm's thread

    def _begin(self, epoch: int) -> None:
        if self._is_over(epoch):
            return
        self._end()
        self._following.close()
        reign = self._build(epoch)
        if reign is None:
            return  # what stands the member down has the database opened for following
        self._reign = reign
        with self._lock:
            if self._epoch == epoch and not self._stopping:
                self._front.become(reign.front)
        reign.start()
        self.served.set()

    def _build(self, epoch: int) -> Reign | None:
        """The reign of that epoch; None when the lead is lost before it stands.

        A lead without a lease changes nothing: it comes with the first answers of voters.
        """
        assert self.premises is not None, "given before the member starts"
        premises = self.premises(epoch)
        while not self._is_over(epoch):
            try:
                return Reign(premises, self._adopt)
            except NotLeader:
                self._clock.sleep(AGAIN_S)
            except DfsError as err:
                self._on_failure(f"it cannot lead in epoch {epoch}: {err.message}")
                break
        self._writer = None
        return None

    def _adopt(self, writer: Writer, epoch: Epoch) -> None:
        """The writer of a reign that is being built; it is deposed if the lead is lost already."""
        with self._lock:
            self._writer = writer
            over = self._epoch != epoch
        if over:
            writer.depose(NotLeader("the lead was lost again"))

    def _is_over(self, epoch: int) -> bool:
        with self._lock:
            return self._epoch != epoch or self._stopping

    def _end(self) -> None:
        reign, self._reign, self._writer = self._reign, None, None
        if reign is not None:
            reign.close()
        self._following.open()
        with self._lock:
            if not self._epoch:
                self.idle.set()

    def _show_following(self) -> None:
        """Point to the leader, unless that is us."""
        if self._reign is None or not self._epoch:
            self._front.become(self._following.front)

    def _close_all(self) -> None:
        reign, self._reign = self._reign, None
        if reign is not None:
            reign.close()
        self._following.close()
