import { execFile } from "node:child_process";
import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { type OperationView, statusReplySchema } from "#core/api/site-api.ts";
import { incidentListSchema, siteFailoverViewSchema } from "#core/api/trigger-api.ts";
import { incidentSchema } from "#core/trigger/incident.ts";
import { farshore } from "../../scripts/demo/processes.ts";
import { show, until, vpg } from "../../scripts/demo/stage.ts";
import { readDisk, writeDisk } from "../kit/disk-client.ts";
import { cleanUpStages, settled, type WholeStage, wholeStage } from "../kit/whole-stage.ts";

const cli = new URL("../../cli/main.ts", import.meta.url).pathname;
const volumes = [{ name: "data", bytes: 2 ** 22 }];
const written = "written before the site was lost; ";

cleanUpStages();

const stageWith = (trigger: string): Promise<WholeStage> =>
  wholeStage({ volumes, checkpointInterval: "1s", trigger: `minimum_duration = "10s"\n${trigger}` });

/** Data that is in a checkpoint, and then the source gateway is gone. */
async function loseSource(stage: WholeStage): Promise<void> {
  await writeDisk(stage.sourceUris[0] ?? "", written);
  await settled(stage);
  await stage.processes.stop("gateway-paris", "SIGKILL");
}

async function recovered(stage: WholeStage): Promise<OperationView> {
  return until("the recovered volumes", 180_000, async () => {
    const { operationId } = await show(stage.env);
    if (operationId === null) return undefined;
    const operation = await stage.operate("operation", "show", operationId);
    return operation.phase === "BeforeCommit" ? operation : undefined;
  });
}

async function expectRecovered({ exports }: OperationView): Promise<void> {
  const [uri] = Object.values(exports);
  expect(await readDisk(uri ?? "")).toEqual(Buffer.alloc(4096, written));
}

interface Ended {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command with its exit status, whatever that is. */
function run(stage: WholeStage, token: string | undefined, ...args: string[]): Promise<Ended> {
  const env = { ...process.env, ...stage.env, ...(token === undefined ? {} : { FARSHORE_TOKEN: token }) };
  return new Promise((resolve) => {
    execFile(process.execPath, [cli, ...args], { env }, (error, stdout, stderr) => {
      resolve({ status: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

const tokenOf = async (stage: WholeStage, role: string): Promise<string> =>
  z.object({ token: z.string() }).parse(await farshore(["token", "create", "--role", role, "--name", role], stage.env))
    .token;

async function incidents(stage: WholeStage) {
  return incidentListSchema.shape.incidents.parse(await farshore(["incident", "list"], stage.env));
}

describe("a source gateway that is killed", () => {
  it("is failed over by itself where its VPG's policy says automatic: once, with its incident in the report", async () => {
    const stage = await stageWith('policy = "automatic"\nself_fence = true\nconfirm_by = ["oncall"]');
    // An event alone raises suspicion and starts nothing while the source is heard.
    await farshore(["event", "put", "--vpg", vpg, "--reason", "smoke in rack 4", "--source", "oncall"], stage.env);
    const status = await run(stage, undefined, "--json", "status");
    expect(status.status).toBe(1);
    expect(statusReplySchema.parse(JSON.parse(status.stdout)).alerts).toMatchObject([
      { alertId: "source-suspected:shop" },
    ]);
    await loseSource(stage);
    // The site is killed too while it watches, and goes on from what it wrote down.
    await stage.processes.stop("site-berlin", "SIGKILL");
    stage.restart.site();
    const operation = await recovered(stage);
    await expectRecovered(operation);
    const [incident, ...more] = await incidents(stage);
    expect(more).toEqual([]);
    expect(incident).toMatchObject({ incidentId: operation.operationId, state: "started" });
    expect(operation.initiatedBy).toBe(`trigger:${incident?.incidentId}`);
    await farshore(["--yes", "failover", "rollback", vpg], stage.env);
    const report = await run(stage, undefined, "report", "show", operation.operationId);
    expect(report.stdout).toMatch(/Because: +its source has been silent/);
    expect(report.stdout).toMatch(/Evidence: custom event of oncall: smoke in rack 4/);
  });

  it("waits for an approver where its policy says approve, and tells people by the site's notify command", async () => {
    const stage = await stageWith('policy = "approve"');
    const told = join(stage.directory, "told");
    await tellTo(stage, told);
    const approver = await tokenOf(stage, "approver");
    await loseSource(stage);
    const waiting = await until("an approval to wait", 180_000, async () =>
      z
        .array(incidentSchema)
        .parse(await farshore(["approval", "list"], stage.env))
        .at(0),
    );
    const { incidentId } = waiting;
    expect((await run(stage, undefined, "status")).stdout).toMatch(/approval-waits:shop.*An approval waits/);
    const byOperator = await run(stage, undefined, "approval", "approve", incidentId);
    expect(byOperator).toMatchObject({ status: 1, stderr: expect.stringContaining("Forbidden") });
    expect((await show(stage.env)).operationId).toBeNull();
    for (let times = 0; times < 2; times += 1) {
      const approved = await run(stage, approver, "approval", "approve", incidentId, "--notes", "the rack burns");
      expect(approved).toMatchObject({ status: 0, stdout: expect.stringContaining("approved by approver:approver") });
    }
    const operation = await recovered(stage);
    expect(operation.operationId).toBe(incidentId);
    await expectRecovered(operation);
    expect(await incidents(stage)).toHaveLength(1);
    await until("people to be told of the start", 30_000, async () =>
      /"kind":"failover-started"/.test(existsSync(told) ? readFileSync(told, "utf8") : "") ? true : undefined,
    );
    const kinds = readFileSync(told, "utf8")
      .trim()
      .split("\n")
      .map((line) => z.object({ kind: z.string() }).parse(JSON.parse(line)).kind);
    expect(kinds).toEqual(["unreachable", "approval-waits", "failover-started"]);
  });
});

/** Starts the site again with a program that is told what people should know. */
async function tellTo(stage: WholeStage, told: string): Promise<void> {
  const program = join(stage.directory, "tell");
  writeFileSync(program, `#!/bin/sh\ncat >> '${told}'\n`);
  chmodSync(program, 0o755);
  await stage.processes.stop("site-berlin", "SIGTERM");
  const listen = (stage.env["FARSHORE_SITE"] ?? "").slice("http://".length);
  const data = ["--data", join(stage.directory, "berlin"), "--name", "berlin", "--listen", listen];
  stage.processes.startCli("site-berlin", ["site", "serve", ...data, "--notify-command", program]);
  await until("the site", 20_000, async () => show(stage.env));
}

describe("a whole protected site", () => {
  it("is failed over in the order of dependency; what fails stops only what depends on it", async () => {
    const stage = await stageWith('policy = "off"');
    const other = (name: string, dependsOn: string) => {
      const file = join(stage.directory, `${name}.toml`);
      writeFileSync(
        file,
        `name = "${name}"\nprotected_site = "paris"\nsource_gateway = "paris-gw"\nrecovery_gateway = "berlin-gw"\n` +
          `[[vm]]\nname = "${name}"\n[[vm.volume]]\nname = "data"\nsize = "1MiB"\n[trigger]\ndepends_on = ["${dependsOn}"]\n`,
      );
      return farshore(["vpg", "create", file], stage.env);
    };
    // ledger was never replicated, so it can't be brought up; books need it.
    await other("ledger", vpg);
    await other("books", "ledger");
    await loseSource(stage);
    const site = ["failover", "live", "--site", "paris"];
    const plan = await run(stage, undefined, ...site, "--dry-run");
    expect(plan.stdout).toMatch(/1 +shop[\s\S]*2 +ledger +50 +shop[\s\S]*3 +books +50 +ledger/);
    expect((await show(stage.env)).operationId).toBeNull();

    // Two people at once, and one whose terminal is closed at once: all are the same failover.
    const both = [run(stage, undefined, "--json", ...site), run(stage, undefined, "--json", ...site)];
    const views = (await Promise.all(both)).map(({ status, stdout }) => {
      expect(status).toBe(3);
      return siteFailoverViewSchema.parse(JSON.parse(stdout));
    });
    const [view, same] = views;
    expect(same?.siteFailoverId).toBe(view?.siteFailoverId);
    expect(view?.vpgs.map(({ name, state, error }) => [name, state, error?.name ?? null])).toEqual([
      ["shop", "up", null],
      ["ledger", "failed", "NoCheckpoint"],
      ["books", "blocked", null],
    ]);
    await expectRecovered(await recovered(stage));
    const operations = z.array(z.unknown()).parse(await farshore(["operation", "list"], stage.env));
    expect(operations).toHaveLength(1);
  });
});
