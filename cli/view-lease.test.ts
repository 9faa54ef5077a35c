import { expect, it } from "vitest";
import { SystemRandom } from "#adapters/embedded/random.ts";
import { NoCheckpoint, Transient } from "#core/errors.ts";
import { idSchema } from "#core/ids.ts";
import { VirtualClock } from "../test/kit/virtual-clock.ts";
import { ViewLease } from "./view-lease.ts";

const renewMs = 600_000;

/** A site that answers asks in turn; the last answer stays. */
async function taken(...answers: readonly (Error | undefined)[]) {
  const clock = new VirtualClock();
  const asked: string[] = [];
  const answer = () => {
    const error = answers[Math.min(asked.length, answers.length) - 1];
    return error === undefined ? Promise.resolve({ until: clock.now() + 3_600_000, renewMs }) : Promise.reject(error);
  };
  const client: Parameters<typeof ViewLease.take>[0]["client"] = {
    post: async (path, schema, body) => {
      asked.push(`${path.replace(/[^/]+$/, "ID")} ${JSON.stringify(body)}`);
      return schema.parse(await answer());
    },
    delete: async (path, schema) => {
      asked.push(`delete ${path.replace(/[^/]+$/, "ID")}`);
      return schema.parse({});
    },
  };
  const vpgId = idSchema.parse("01k3s1te000000000000000000");
  const of = { client, vpgId, checkpointId: "1-8", lostTail: undefined, clock, random: new SystemRandom() };
  return { clock, asked, lease: await ViewLease.take(of) };
}

const path = "/v1/vpgs/01k3s1te000000000000000000/leases/ID";
const ask = `${path} {"checkpoint":"1-8"}`;

it("is renewed as often as the site says, also after it was away, until it is released", async () => {
  const { clock, asked, lease } = await taken(undefined, new Transient("away"), undefined);
  await clock.advance(renewMs - 1);
  expect(asked).toEqual([ask]);
  await clock.advance(2 * renewMs + 1);
  expect(asked).toEqual([ask, ask, ask, ask]);
  expect(lease.lost.aborted).toBe(false);
  await lease.release();
  await lease.release();
  await clock.advance(3 * renewMs);
  expect(asked.slice(4)).toEqual([`delete ${path}`]);
});

it("that the site refuses to renew tells the reader, by the site's own error", async () => {
  const { clock, lease } = await taken(undefined, new NoCheckpoint("gone"));
  await clock.advance(renewMs);
  expect(lease.lost.reason).toMatchObject({ name: "NoCheckpoint" });
});

it("of a checkpoint that is gone is not taken", async () => {
  await expect(taken(new NoCheckpoint("gone"))).rejects.toMatchObject({ name: "NoCheckpoint" });
});
