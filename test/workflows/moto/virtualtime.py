"""Virtual time for a program that waits with threads.

One thread runs at a time and hands on when it waits or ends; when all wait, the clock jumps to the earliest deadline. So a
run takes no time of day, whatever it waits for, and is the same every time.
"""

import collections
import heapq
import itertools
import threading
import time
import types

# Hand-overs after which a run counts as one that goes round in circles.
TURNS_MAX = 200_000


class Hangs(Exception):
    """Every thread waits, and none has a deadline."""


_thread = threading.local()


def here():
    """The world of the thread that asks."""
    return _thread.world


class Task:
    """A thread of the program. `queue` is the list of those that wait with it, None while it is ready or runs."""

    def __init__(self):
        self.baton = threading.Semaphore(0)
        self.queue = None
        self.woken = False
        self.wait = 0


class World:
    """One run: its clock, its ready threads and its deadlines. It is the world of the thread that makes it, and of all that follow."""

    def __init__(self):
        _thread.world = self
        self.now = 0.0
        self.turns = 0
        self.running = None
        self._ready = collections.deque()
        self._deadlines = []
        self._order = itertools.count()
        self._first = None
        self._over = threading.Event()
        self._problem = None

    def spawn(self, work):
        """A new thread that runs when its turn comes."""
        task = Task()
        if self._first is None:
            self._first = task

        def run():
            _thread.world = self
            task.baton.acquire()
            try:
                work()
            finally:
                if task is self._first:
                    self._over.set()
                else:
                    self._hand_on()

        threading.Thread(target=run, daemon=True).start()
        self._ready.append(task)

    def run(self):
        """Runs until the first thread has ended. Those that still wait then are left where they are. Throws `Hangs`."""
        self._hand_on()
        self._over.wait()
        if self._problem is not None:
            raise self._problem

    def block(self, queue, seconds=None):
        """The running thread waits in `queue`; true when it was woken, false when its time was up."""
        task = self.running
        task.wait += 1
        if seconds is not None:
            heapq.heappush(self._deadlines, (self.now + max(0, seconds), next(self._order), task.wait, task))
        task.queue, task.woken = queue, False
        queue.append(task)
        self._hand_on()
        task.baton.acquire()
        return task.woken

    def wake(self, queue):
        """Makes every thread that waits in `queue` ready."""
        for task in list(queue):
            self._release(task, True)

    def _release(self, task, woken):
        task.queue.remove(task)
        task.queue, task.woken = None, woken
        self._ready.append(task)

    def _hand_on(self):
        self.turns += 1
        if self.turns > TURNS_MAX:
            self._stop(Hangs("it goes round in circles"))
            return
        while not self._ready and self._deadlines:
            at, _, wait, task = heapq.heappop(self._deadlines)
            if task.queue is not None and task.wait == wait:
                self.now = at
                self._release(task, False)
        if self._ready:
            self.running = self._ready.popleft()
            self.running.baton.release()
        else:
            self._stop(Hangs("every thread waits, and none has a deadline"))

    def _stop(self, problem):
        self._problem = problem
        self._over.set()


class Event:
    def __init__(self):
        self._flag = False
        self._queue = []

    def is_set(self):
        return self._flag

    def set(self):
        self._flag = True
        here().wake(self._queue)

    def clear(self):
        self._flag = False

    def wait(self, timeout=None):
        return self._flag or here().block(self._queue, timeout)


class Condition:
    """Its lock is no lock: only one thread runs."""

    def __init__(self):
        self._queue = []

    def acquire(self):
        return True

    def release(self):
        pass

    def wait(self, timeout=None):
        return here().block(self._queue, timeout)

    def notify_all(self):
        here().wake(self._queue)


class Thread:
    def __init__(self, target, args=(), name=None, daemon=None):
        self._work = lambda: target(*args)
        self._ended = Event()

    def start(self):
        def work():
            try:
                self._work()
            finally:
                self._ended.set()

        here().spawn(work)

    def join(self, timeout=None):
        self._ended.wait(timeout)

    def is_alive(self):
        return not self._ended.is_set()


def sleep(seconds):
    here().block([], seconds)


class _Stand_in(types.SimpleNamespace):
    """A module with some names replaced."""

    def __init__(self, module, **replaced):
        super().__init__(**replaced)
        self._module = module

    def __getattr__(self, name):
        return getattr(self._module, name)


def install(modules):
    """Gives modules that are loaded already this clock and these threads in place of Python's own."""
    stand_ins = {
        threading: _Stand_in(threading, Event=Event, Condition=Condition, Thread=Thread),
        time: _Stand_in(time, sleep=sleep, time=lambda: here().now),
        threading.Event: Event,
        threading.Condition: Condition,
        threading.Thread: Thread,
    }
    for module in modules:
        for name, value in list(vars(module).items()):
            try:
                stand_in = stand_ins.get(value)
            except TypeError:
                continue
            if stand_in is not None:
                setattr(module, name, stand_in)
