/** The real command line reads a checkpoint of a real site, which keeps it meanwhile: through a kill of the site, and until it is stopped. */
import { expect, it } from "vitest";
import { NbdClient } from "../../gateway/nbd/client.ts";
import { until, vm, vpg } from "../../scripts/demo/stage.ts";
import { StampGuest } from "../kit/stamp-guest.ts";
import { cleanUpStages, settled, wholeStage } from "../kit/whole-stage.ts";

const bytes = 4 * 2 ** 20;
cleanUpStages();

it("holds a lease of the checkpoint that it exports, and lets it go at its end", async () => {
  const stage = await wholeStage({ volumes: [{ name: "data", bytes }], checkpointInterval: "1s" });
  const guest = new StampGuest(stage.sourceUris[0] ?? "", 3);
  guest.start();
  await until("writes", 30_000, async () => (guest.written > 20 ? true : undefined));
  await guest.stop();
  await settled(stage);
  const [newest] = await stage.list();
  if (newest === undefined) throw new Error("no checkpoint");
  const pins = async (): Promise<number | undefined> =>
    (await stage.list()).find((checkpoint) => checkpoint.id === newest.id)?.pins;
  expect(await pins()).toBe(0);

  const socketPath = `${stage.directory}/view.sock`;
  const what = ["--checkpoint", newest.id, "--volume", `${vm}/data`, "--socket", socketPath];
  stage.processes.startCli("view", ["view", "export", vpg, ...what], stage.env);
  await until("the lease", 30_000, async () => ((await pins()) === 1 ? true : undefined));
  const read = async (): Promise<Buffer> => {
    const client = await NbdClient.connect({ socketPath }, `${vpg}/${vm}/data`);
    const image = Buffer.alloc(bytes);
    await client.readInto(0, image);
    await client.disconnect();
    return image;
  };
  await stage.processes.stop("site-berlin", "SIGKILL");
  stage.restart.site();
  const image = await until("the disk", 60_000, read);
  expect(guest.wrongBlocks(image)).toEqual([]);
  expect(await pins()).toBe(1);
  await stage.processes.stop("view", "SIGTERM");
  expect(await pins()).toBe(0);
});
