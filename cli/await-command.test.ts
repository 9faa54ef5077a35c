import { expect, it } from "vitest";
import type { z } from "zod";
import { Transient } from "#core/errors.ts";
import { awaitCommand } from "./await-command.ts";

const at = { commandId: "01m81tm95vtncmg406vrz43w9d.preseed", result: null, error: null };
const progress = { done: 1, total: 2, unit: "chunks" };

/** A site that gives these answers one after the other. */
const siteOf = (answers: readonly unknown[]) => {
  const left = [...answers];
  return {
    get: async <T extends z.ZodType>(_path: string, schema: T): Promise<z.infer<T>> => {
      const answer = left.shift();
      if (answer instanceof Transient) throw answer;
      return schema.parse(answer);
    },
  };
};

it("tells that a gateway has not begun, then how far it is, over a restart of the site", async () => {
  const site = siteOf([
    { ...at, state: "pending", progress: null },
    new Transient("the site is being restarted"),
    { ...at, state: "running", progress },
    { ...at, state: "done", progress, result: { hashedBytes: 2 } },
  ]);
  const told: unknown[] = [];
  await expect(awaitCommand(site, at.commandId, "preseed", (now) => told.push(now))).resolves.toEqual({
    hashedBytes: 2,
  });
  expect(told).toEqual([null, progress]);
});
