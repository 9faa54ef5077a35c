import { randomBytes } from "node:crypto";
import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach } from "vitest";
import { type CheckpointView, checkpointListSchema } from "#core/api/site-api.ts";
import { formatNbdUri } from "../../gateway/nbd/uri.ts";
import { farshore, Processes } from "../../scripts/demo/processes.ts";
import { freePort, until } from "../../scripts/demo/stage.ts";
import { SiteStage, servedVm, servedVmElsewhere, servedVpg } from "./served-site.ts";

export type GatewayName = "paris" | "lyon";
export type BarrierMode = "fair" | "rough" | "hang" | "stale" | "reconnects";

const script = new URL("./barrier-gateway.ts", import.meta.url).pathname;
const volumeName = "data";
const checkpointsPath = `/v1/vpgs/${servedVpg}/checkpoints`;

const stages: TwoGateways[] = [];
export function cleanUpGateways(): void {
  afterEach(async () => {
    for (const { processes, site } of stages.splice(0)) {
      await processes.stopAll();
      await site.close();
      site.remove();
    }
  });
}

/** A site in this process and two source gateways of one VPG as processes: paris coordinates, and each has a disk. */
export class TwoGateways {
  readonly site: SiteStage;
  readonly processes: Processes;
  readonly #port: number;

  private constructor(site: SiteStage, port: number) {
    this.site = site;
    this.#port = port;
    this.processes = new Processes(site.directory);
  }

  static async start(volumeBytes: number): Promise<TwoGateways> {
    const volumes = [{ name: volumeName, sizeBytes: volumeBytes }];
    const site = await SiteStage.start({ volumes, elsewhere: volumes, checkpointIntervalMs: 1000 });
    const stage = new TwoGateways(site, await freePort());
    stages.push(stage);
    writeFileSync(stage.#path("barrier.key"), randomBytes(32).toString("hex"));
    for (const name of ["paris", "lyon"] as const) {
      writeFileSync(stage.#disk(name), "");
      truncateSync(stage.#disk(name), volumeBytes);
      writeFileSync(stage.#path(`${name}.toml`), stage.#config(name));
    }
    return stage;
  }

  run(name: GatewayName, mode: BarrierMode = "fair", seed = 1): void {
    const token = name === "paris" ? this.site.tokens.source : this.site.tokens.stranger;
    const args = [this.#path(`${name}.toml`), String(seed), mode];
    this.processes.start(name, script, args, { FARSHORE_TOKEN: token });
  }

  /** The gateway that recovers, and boots nothing. */
  runRecovery(): void {
    const file = this.#path("berlin.toml");
    writeFileSync(file, `site = "${this.site.url}"\nstate = "berlin-state"\n[recovery]\ndirectory = "r"\n`);
    this.processes.start("berlin", script, [file], { FARSHORE_TOKEN: this.site.tokens.recovery });
  }

  /** `farshore --json …` as the operator. */
  farshore(...args: string[]): Promise<unknown> {
    return farshore(args, { FARSHORE_SITE: this.site.url, FARSHORE_TOKEN: this.site.tokens.operator });
  }

  uri(name: GatewayName): string {
    const vm = name === "paris" ? servedVm : servedVmElsewhere;
    return formatNbdUri({ socketPath: this.#path(`${name}.sock`) }, `${servedVpg}/${vm}/${volumeName}`);
  }

  /** By volume number. */
  diskImages(): Map<number, Buffer> {
    return new Map([
      [1, readFileSync(this.#disk("paris"))],
      [2, readFileSync(this.#disk("lyon"))],
    ]);
  }

  async listed(): Promise<readonly CheckpointView[]> {
    const { viewer: token } = this.site.tokens;
    const answer = await this.site.call(`${checkpointsPath}?limit=1000`, { token });
    return checkpointListSchema.parse(answer.json()).checkpoints;
  }

  /** Until so many checkpoints were made after the instant. */
  async checkpoints(count: number, since: number): Promise<void> {
    await until(`${count} checkpoints`, 90_000, async () => {
      const listed = await this.listed();
      return listed.filter(({ time }) => time > since).length >= count ? true : undefined;
    });
  }

  /** Until the newest checkpoint is known to hold after the instant: nothing more comes, and all of it is there. */
  async settled(since: number): Promise<void> {
    await until("a checkpoint that still holds", 90_000, async () =>
      ((await this.site.vpg()).newestCheckpoint?.validThrough ?? 0) > since ? true : undefined,
    );
  }

  #path(name: string): string {
    return join(this.site.directory, name);
  }

  #disk(name: GatewayName): string {
    return this.#path(`${name}.img`);
  }

  #config(name: GatewayName): string {
    const role = name === "paris" ? "barrier_listen" : "barrier_connect";
    return `site = "${this.site.url}"
state = "${name}-state"
[source]
vpg = "${servedVpg}"
socket = "${name}.sock"
${role} = "127.0.0.1:${this.#port}"
barrier_key_file = "barrier.key"
[[source.volume]]
vm = "${name === "paris" ? servedVm : servedVmElsewhere}"
name = "${volumeName}"
path = "${name}.img"
[hooks.${name === "paris" ? servedVm : servedVmElsewhere}]
boot = ["rm", "-f", "${name}.stopped"]
shutdown = ["touch", "${name}.stopped"]
status = ["sh", "-c", "test ! -e ${name}.stopped || exit 3"]
`;
  }
}
