import { setImmediate } from "node:timers/promises";
import { expect, it } from "vitest";
import { Slots } from "./slots.ts";

const noSignal = new AbortController().signal;

/** Something at work until it is told to end. */
function work(slots: Slots, name: string, log: string[], signal = noSignal) {
  const end = Promise.withResolvers<void>();
  const done = slots.run(signal, async () => {
    log.push(name);
    await end.promise;
  });
  return { done, end: end.resolve };
}

it("runs so many at a time, in the order they came, also behind one that fails", async () => {
  const slots = new Slots(2);
  const log: string[] = [];
  const [a, b, c, d] = ["a", "b", "c", "d"].map((name) => work(slots, name, log));
  await setImmediate();
  expect(log).toEqual(["a", "b"]);
  b?.end();
  await b?.done;
  await setImmediate();
  expect(log).toEqual(["a", "b", "c"]);
  const failed = slots.run(noSignal, () => Promise.reject(new Error("no")));
  for (const each of [a, c, d]) each?.end();
  await expect(failed).rejects.toThrow("no");
  await Promise.all([a?.done, c?.done, d?.done]);
  const after = ["e", "f", "g"].map((name) => work(slots, name, log));
  await setImmediate();
  expect(log).toEqual(["a", "b", "c", "d", "e", "f"]);
  for (const { end } of after) end();
  await Promise.all(after.map(({ done }) => done));
});

it("lets go of who is aborted while it waits, and nobody waits for that one", async () => {
  const slots = new Slots(1);
  const log: string[] = [];
  const first = work(slots, "first", log);
  const abort = new AbortController();
  const gone = work(slots, "gone", log, abort.signal);
  const last = work(slots, "last", log);
  abort.abort(new Error("asked for no more"));
  await expect(gone.done).rejects.toThrow("asked for no more");
  first.end();
  last.end();
  await Promise.all([first.done, last.done]);
  expect(log).toEqual(["first", "last"]);
  await expect(slots.run(abort.signal, () => Promise.resolve())).rejects.toThrow("asked for no more");
});
