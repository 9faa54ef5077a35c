/**
 * Disks that a move closed and that nobody would ever open: the site lost its table in the middle of the move, or the VPG that was moved
 * was deleted and its old disks are to be protected anew. Real processes, and the verbs that alerts and runbook name.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { operationViewSchema, statusReplySchema } from "#core/api/site-api.ts";
import { farshore } from "../../scripts/demo/processes.ts";
import { show, until, vpg } from "../../scripts/demo/stage.ts";
import { readDisks } from "../kit/read-disks.ts";
import { StampGuest } from "../kit/stamp-guest.ts";
import { cleanUpStages, settled, type WholeStage, wholeStage } from "../kit/whole-stage.ts";

const MiB = 2 ** 20;
const volumes = [{ name: "data", bytes: 4 * MiB }];

cleanUpStages();

/** The site dies, its table is made again of its bucket, and it serves on. */
async function rebuild({ processes, directory, restart, env }: WholeStage): Promise<void> {
  await processes.stop("site-berlin", "SIGKILL");
  await farshore(["site", "rebuild", "--data", `${directory}/berlin`, "--yes"], env);
  restart.site();
}

const closedText = (stage: WholeStage): Promise<string> =>
  until("the closed source to be told", 30_000, async () => (await show(stage.env)).sourceClosed);

const resumed = async (stage: WholeStage) => stage.operate("move", "resume", vpg, "--wait");

/** `farshore status` exits by how things stand, so the site itself is asked. */
async function alertsOf({ env }: WholeStage): Promise<readonly string[]> {
  const headers = { authorization: `Bearer ${env["FARSHORE_TOKEN"]}` };
  const reply = await fetch(`${env["FARSHORE_SITE"]}/v1/status`, { headers });
  return statusReplySchema.parse(await reply.json()).alerts.map(({ alertId }) => alertId);
}

const writing = async (guest: StampGuest): Promise<void> => {
  const { written } = guest;
  await until("writes", 60_000, async () => (guest.written > written ? true : undefined));
};

describe("a source that stays closed", () => {
  it("is opened or committed by going on with the move that a rebuild forgot, and by a person once its VPG is deleted", async () => {
    const stage = await wholeStage({ volumes, checkpointInterval: "1s", bothWays: true });
    const { directory, env, sourceUris } = stage;
    const running = `${directory}/running-home`;
    writeFileSync(running, "");
    const guest = new StampGuest(sourceUris[0] ?? "", 1);
    guest.start();
    await writing(guest);

    const first = await stage.operate("move", "start", vpg, "--wait");
    expect(first.phase).toBe("BeforeCommit");
    expect(existsSync(running), "the source's VM").toBe(false);
    await rebuild(stage);
    expect(await closedText(stage)).toContain(`move ${first.operationId}`);
    expect(await alertsOf(stage)).toContain(`operation-forgotten:${vpg}`);
    // Told once the source is heard again, and not before.
    await until("the alert", 30_000, async () => (await alertsOf(stage)).includes(`source-closed:${vpg}`) || undefined);
    const again = await resumed(stage);
    expect(again).toMatchObject({ operationId: first.operationId, phase: "BeforeCommit" });
    expect(guest.wrongBlocks((await readDisks(again, volumes))[0] ?? Buffer.alloc(0))).toEqual([]);
    expect((await stage.operate("move", "rollback", vpg, "--yes")).phase).toBe("RolledBack");
    expect(existsSync(running), "the source's VM, powered on again").toBe(true);
    const boots = readFileSync(`${directory}/boot-home.log`, "utf8").trimEnd().split("\n");
    expect(JSON.parse(boots.at(-1) ?? "")).toMatchObject({
      ...{ FARSHORE_ACTION: "boot", FARSHORE_MODE: "source", FARSHORE_DISK_DATA: sourceUris[0] },
    });
    expect(existsSync(`${directory}/running`), "the recovered VM").toBe(false);
    await writing(guest);
    expect((await show(env)).sourceClosed).toBeUndefined();

    await settled(stage);
    expect((await stage.operate("move", "start", vpg, "--wait")).phase).toBe("BeforeCommit");
    await rebuild(stage);
    await closedText(stage);
    await resumed(stage);
    const moved = await stage.operate("move", "commit", vpg);
    expect(moved.phase).toBe("Completed");
    expect(guest.wrongBlocks((await readDisks(moved, volumes))[0] ?? Buffer.alloc(0))).toEqual([]);
    const nothing = farshore(["move", "resume", vpg], env);
    await expect(nothing).rejects.toThrow("was heard to be closed");

    await farshore(["vpg", "delete", vpg, "--yes"], env);
    await farshore(["vpg", "create", `${directory}/vpg.toml`], env);
    const { written } = guest;
    expect(await closedText(stage)).toContain("farshore gateway open-volumes");
    const open = ["gateway", "open-volumes", vpg, "--config", `${directory}/paris-gw.toml`, "--yes"];
    await expect(farshore(open, env)).rejects.toThrow("DirectoryInUse");
    await stage.processes.stop("gateway-paris", "SIGTERM");
    stage.restart.source();
    await until("the gateway", 30_000, async () => ((await show(env)).sourceClosed === undefined ? undefined : true));
    expect(guest.written, "closed after a restart, under a VPG of that name").toBe(written);
    await stage.processes.stop("gateway-paris", "SIGTERM");
    expect(await farshore(open, env)).toEqual({ vpg, operation: moved.operationId });
    stage.restart.source();
    await writing(guest);
    await settled(stage);
    expect(operationViewSchema.array().parse(await farshore(["operation", "list", "--open"], env))).toEqual([]);
    await guest.stop();
  });
});
