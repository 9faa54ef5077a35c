import { expect, it, vi } from "vitest";
import { InvalidInput, Transient } from "#core/errors.ts";
import { askAgain } from "./ask-again.ts";
import { cliLimits } from "./limits.ts";

it("goes on asking a site that is being restarted, and says so once", async () => {
  const answers = [new Transient("gone"), new Transient("gone still"), "here"];
  const told: string[] = [];
  const asked = askAgain(
    async () => {
      const answer = answers.shift();
      if (answer instanceof Transient) throw answer;
      return answer;
    },
    ({ message }) => told.push(message),
  );
  await expect(asked).resolves.toBe("here");
  expect(told).toEqual(["gone"]);
});

it("gives up in the end, and at once over what asking again can't mend", async () => {
  vi.useFakeTimers();
  try {
    const gone = expect(askAgain(() => Promise.reject(new Transient("gone")))).rejects.toThrow("gone");
    await vi.advanceTimersByTimeAsync(cliLimits.patienceMs + 2 * cliLimits.pollMs);
    await gone;
    await expect(askAgain(() => Promise.reject(new InvalidInput("no such")))).rejects.toThrow("no such");
  } finally {
    vi.useRealTimers();
  }
});
