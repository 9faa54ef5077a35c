import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { type CheckpointView, checkpointSchema, type OperationView, operationViewSchema } from "#core/api/site-api.ts";
import { formatNbdUri } from "../../gateway/nbd/uri.ts";
import { exportsOf } from "../../scripts/demo/back-home.ts";
import { volumeNames } from "../../scripts/demo/ledger.ts";
import { farshore, Processes, run } from "../../scripts/demo/processes.ts";
import { hooksOf, show, until, vm, vpg } from "../../scripts/demo/stage.ts";
import { readWriteLog } from "../../scripts/demo/write-log.ts";
import { bootstrap, deploy, destroy, synthesize } from "../../scripts/local-aws/cdk.ts";
import { type Role, Roles } from "../../scripts/local-aws/roles.ts";
import { emptyBucket } from "./empty-bucket.ts";
import type { Ground, Grounds, LocalAws, SiteRole } from "./ground.ts";

/** Room for the log of 8192 transactions; the application makes 30 a second, first at paris, then at berlin. */
const volumeBytes = 32 * 2 ** 20;
/** The application's two, and others of other sizes for guests whose writes the test itself knows. */
export const volumes = [
  ...volumeNames.map((name) => ({ name, bytes: volumeBytes })),
  { name: "root", bytes: 12 * 2 ** 20 + 4096 },
  { name: "swap", bytes: 2 ** 20 },
  { name: "spare", bytes: 3 * 2 ** 20 + 512 },
];
/** Of a list with something for each volume: the part of the application, and the part of the guests. */
export const ofApplication = <T>(all: readonly T[]): readonly T[] => all.slice(0, volumeNames.length);
export const ofGuests = <T>(all: readonly T[]): readonly T[] => all.slice(volumeNames.length);
const transactions = { perSecond: "30", most: "8000" };
const demoScript = (name: string) => new URL(`../../scripts/demo/${name}`, import.meta.url).pathname;
const checkedSchema = z.object({ equal: z.array(z.int()), transactions: z.int(), problems: z.array(z.string()) });

/** What a stack told when it was deployed. */
export type Outputs = Readonly<Record<string, string>>;

/**
 * Two deployed sites, the roles of who plays, a gateway process at each side, and an application that writes: all by the
 * program's command line, the CDK, the SDK and the stacks' outputs, as a customer has them.
 */
export class DeployStage {
  readonly aws: LocalAws;
  readonly directory: string;
  readonly processes: Processes;
  readonly ground: Ground;
  readonly roles: Roles;
  readonly writesLog: string;
  readonly #grounds: Grounds;
  readonly #undo: (() => Promise<void>)[] = [];
  readonly #outputs = new Map<SiteRole, Outputs>();
  readonly #people = new Map<Role, Readonly<Record<string, string>>>();

  private constructor(aws: LocalAws, directory: string, grounds: Grounds) {
    this.aws = aws;
    this.directory = directory;
    this.processes = new Processes(directory);
    this.#grounds = grounds;
    this.ground = grounds.berlin;
    const atParis = `arn:aws:lambda:*:*:function:farshore-${aws.namePrefix}paris-*`;
    this.roles = new Roles(grounds.berlin, aws.namePrefix, {
      operator: atParis,
      "source-gateway": atParis,
      "recovery-gateway": atParis,
    });
    this.writesLog = join(directory, "writes.log");
  }

  /** Deploys both sites. What was made is removed again when that fails. */
  static async deploy(aws: LocalAws, say: (text: string) => void): Promise<DeployStage> {
    const directory = mkdtempSync(join(tmpdir(), "fs-"));
    const stage = new DeployStage(aws, directory, await aws.open(directory));
    try {
      await stage.#deploy(say);
      return stage;
    } catch (error) {
      await stage.close();
      throw error;
    }
  }

  /** What the site's stack told. */
  outputs(site: SiteRole): Outputs {
    const outputs = this.#outputs.get(site);
    if (outputs === undefined) throw new Error(`${site} is not deployed`);
    return outputs;
  }

  output(name: string, site: SiteRole = "berlin"): string {
    const value = this.outputs(site)[name];
    if (value === undefined) throw new Error(`the stack of ${site} has no output ${name}`);
    return value;
  }

  siteName(site: SiteRole): string {
    return `${this.aws.namePrefix}${site}`;
  }

  groundOf(site: SiteRole): Ground {
    return this.#grounds[site];
  }

  /** Of berlin's function for a folder of functions/. */
  functionName(folder: string): string {
    return `farshore-${this.siteName("berlin")}-${folder}`;
  }

  /** The environment of a process that is this role and speaks to berlin. */
  async as(role: Role): Promise<Readonly<Record<string, string>>> {
    const known = this.#people.get(role);
    if (known !== undefined) return known;
    const env = {
      ...(await this.roles.assume(role)),
      FARSHORE_SITE: this.output("SiteApiUrl"),
      FARSHORE_AUTH: "iam",
    };
    this.#people.set(role, env);
    return env;
  }

  /** The operator's environment at a site. */
  async operator(site: SiteRole = "berlin"): Promise<Readonly<Record<string, string>>> {
    const at = { FARSHORE_SITE: this.output("SiteApiUrl", site), AWS_REGION: this.#grounds[site].region };
    return { ...(await this.as("operator")), ...at };
  }

  /** `farshore ... --json` as the operator. */
  async farshore(...args: string[]): Promise<unknown> {
    return farshore(args, await this.operator());
  }

  async operate(...args: string[]): Promise<OperationView> {
    return operationViewSchema.parse(await this.farshore(...args));
  }

  async show(site?: SiteRole): ReturnType<typeof show> {
    return show(await this.operator(site));
  }

  /** Newest first: the history, or what `which` says. */
  async checkpoints(...which: string[]): Promise<readonly CheckpointView[]> {
    return z.array(checkpointSchema).parse(await this.farshore("checkpoint", "list", vpg, "--limit", "1000", ...which));
  }

  /** What recovered VMs wrote before a rollback or a retarget, as it lies at the recovery gateway's machine. */
  async keptScratch(): Promise<unknown> {
    return this.farshore("scratch", "list", "--config", join(this.directory, "recovery-gateway.toml"));
  }

  /** Makes the VPG and starts both gateways, `before` done in between; resolves once a checkpoint is listed. */
  async protect(trigger: string, before: () => Promise<void> = async () => {}): Promise<void> {
    await this.#admitGateways("berlin");
    writeFileSync(join(this.directory, "vpg.toml"), vpgFile(trigger));
    await this.farshore("vpg", "create", join(this.directory, "vpg.toml"));
    await this.startRecovery();
    await before();
    await this.startSource();
    await until("the first checkpoint", 120_000, async () => ((await this.show()).checkpoints > 0 ? true : undefined));
  }

  async startSource(): Promise<void> {
    await this.#startGateway("source-gateway", this.#sourceFile());
  }

  async startRecovery(): Promise<void> {
    const recovery = `[recovery]\ndirectory = "recovered"\npreseed = "copies"\n`;
    const hooks = hooksOf(this.directory, "", true);
    await this.#startGateway(
      "recovery-gateway",
      `state = "recovery-state"\n${recovery}[source]\n${this.#parisKeys()}${hooks}`,
    );
  }

  /** Each site learns of the other as its peer, and paris of the gateways: what going home takes. */
  async introduce(): Promise<void> {
    await this.#admitGateways("paris");
    for (const [site, peer] of [
      ["berlin", "paris"],
      ["paris", "berlin"],
    ] as const) {
      const role = this.output("PeerRole", site);
      const shown = ["token", "create", "--role", "peer", "--name", site, "--iam-role", role];
      await farshore(shown, await this.operator(peer));
      const place = ["--url", this.output("SiteApiUrl", peer), "--region", this.#grounds[peer].region];
      await farshore(["site", "peer", "add", peer, ...place], await this.operator(site));
    }
  }

  async #admitGateways(site: SiteRole): Promise<void> {
    for (const name of ["source-gateway", "recovery-gateway"] as const) {
      const how = ["token", "create", "--role", "gateway", "--name", name, "--iam-role", this.roles.arn(name)];
      await farshore(how, await this.operator(site));
    }
  }

  /** What has a half of a gateway belong to paris. */
  #parisKeys(): string {
    return `site = "${this.output("GatewayApiUrl", "paris")}"\nauth = "iam"\nregion = "${this.#grounds.paris.region}"\n`;
  }

  /** What a process has printed. */
  logOf(name: string): string {
    return readFileSync(join(this.directory, `${name}.log`), "utf8");
  }

  get sourceUris(): readonly string[] {
    return volumes.map(({ name }) => formatNbdUri({ socketPath: this.#socket }, `${vpg}/${vm}/${name}`));
  }

  async #startGateway(name: "source-gateway" | "recovery-gateway", config: string): Promise<void> {
    const file = join(this.directory, `${name}.toml`);
    writeFileSync(file, `site = "${this.output("GatewayApiUrl")}"\nauth = "iam"\n${config}`);
    this.processes.startCli(name, ["gateway", "run", "--config", file], await this.as(name));
  }

  /** What the application has submitted and what was acknowledged, by its own log. */
  written(): { submitted: number; acknowledged: number } {
    return readWriteLog(this.writesLog, () => {});
  }

  /** Reads the recovered disks over NBD and compares them, byte for byte, with a replay of the application's logs. */
  async check(operation: OperationView, writesLogs = this.writesLog): Promise<z.infer<typeof checkedSchema>> {
    const uris = ofApplication(exportsOf(operation));
    const said = await run(demoScript("check.ts"), [writesLogs, ...uris, String(volumeBytes)]);
    return checkedSchema.parse(JSON.parse(said));
  }

  /** The application of another log, on the disks that a committed operation left running. */
  startWorkload(name: string, writesLog: string, uris: readonly string[]): void {
    const { perSecond, most } = transactions;
    this.processes.start(name, demoScript("workload.ts"), [writesLog, ...ofApplication(uris), perSecond, most]);
  }

  /** The protected side is gone: its site, its gateway, its application. */
  async loseParis(): Promise<void> {
    await Promise.all(["source-gateway", "workload"].map((name) => this.processes.stop(name, "SIGKILL")));
    await this.#grounds.paris.cut();
  }

  /** Its site again, as it was. */
  async restoreParis(): Promise<void> {
    await this.#grounds.paris.restore();
    await until("site paris", 60_000, async () => farshore(["operation", "list"], await this.operator("paris")));
  }

  /** Files of the protected disks. */
  get disks(): readonly string[] {
    return volumes.map(({ name }) => join(this.directory, "disks", `${name}.img`));
  }

  /** Files that a committed operation's disks were brought into at berlin. */
  promoted({ operationId }: OperationView): readonly string[] {
    return volumes.map((_, index) =>
      join(this.directory, "recovered", "operations", operationId, String(index + 1), "data"),
    );
  }

  async close(): Promise<void> {
    await this.processes.stopAll();
    const problems: unknown[] = [];
    for (const undo of this.#undo.reverse()) await undo().catch((error: unknown) => problems.push(error));
    await this.#grounds.close();
    rmSync(this.directory, { recursive: true, force: true });
    if (problems.length > 0) throw new AggregateError(problems, "not all that was deployed could be removed");
  }

  get #socket(): string {
    return join(this.directory, "source.sock");
  }

  async #deploy(say: (text: string) => void): Promise<void> {
    const config = join(this.directory, "farshore-site.toml");
    writeFileSync(config, this.#config());
    await this.#keep(
      () => this.roles.create(),
      () => this.roles.remove(),
    );
    // A role that can be assumed is known everywhere; only then a function's policy may name it.
    for (const role of ["operator", "recovery-gateway"] as const) await this.roles.assume(role);
    const synthesized = await synthesize(config, this.directory);
    say("synthesized");
    for (const site of ["paris", "berlin"] as const) {
      const ground = this.#grounds[site];
      await bootstrap(ground, this.directory);
      say(`${site}: bootstrapped`);
      const stack = `farshore-${this.siteName(site)}`;
      this.#outputs.set(
        site,
        await this.#keep(
          () => deploy(stack, ground, synthesized),
          async () => {
            const bucket = this.#outputs.get(site)?.["Bucket"];
            if (bucket !== undefined) await emptyBucket(ground, bucket);
            await destroy(stack, ground, synthesized);
          },
        ),
      );
      say(`${site}: deployed`);
    }
    // One gateway may call by what the site's configuration says, the other by the policy that the stack offers.
    await this.roles.attach({ "source-gateway": this.output("GatewaysPolicy"), viewer: this.output("PeoplePolicy") });
  }

  /** Removes at the end what `make` makes, also when that fails half way; a ground that ends with the suite needs none of it. */
  async #keep<T>(make: () => Promise<T>, undo: () => Promise<void>): Promise<T> {
    if (this.aws.namePrefix !== "") this.#undo.push(undo);
    return make();
  }

  #config(): string {
    // An account keeps nothing of the suite, and may have a small quota of concurrency.
    const account = this.aws.namePrefix === "" ? "" : "remove_data = true\nreserve_concurrency = false\n";
    const site = (role: SiteRole, people: string) => `[[site]]\nname = "${this.siteName(role)}"\n${account}${people}`;
    const list = (key: string, ...arns: string[]) => `${key} = ${JSON.stringify(arns)}\n`;
    const { paris, berlin } = this.#grounds;
    const operators = list("operators", this.roles.arn("operator"));
    const recovery = this.roles.arn("recovery-gateway");
    const peer = `arn:aws:lambda:${paris.region}:${paris.accountId}:function:farshore-${this.siteName("paris")}-site-api`;
    // The account at berlin says which of its own functions may call paris; paris lets the account.
    const people = list("people", berlin.accountId);
    return [
      site("paris", operators + people + list("gateways", this.roles.arn("source-gateway"), recovery)),
      site("berlin", operators + list("gateways", recovery) + list("peers", peer)),
    ].join("\n");
  }

  #sourceFile(): string {
    mkdirSync(join(this.directory, "disks"), { recursive: true });
    const tables = volumes.map(({ name, bytes }, index) => {
      const path = this.disks[index] ?? "";
      // "a": a disk that is there already keeps what it holds.
      closeSync(openSync(path, "a"));
      truncateSync(path, bytes);
      return `[[source.volume]]\nvm = "${vm}"\nname = "${name}"\npath = "${path}"\n`;
    });
    const home = `[recovery]\n${this.#parisKeys()}directory = "home"\n${hooksOf(this.directory, "-home", true)}`;
    return `state = "source-state"\n[source]\nvpg = "${vpg}"\nsocket = "${this.#socket}"\n${tables.join("")}${home}`;
  }
}

function vpgFile(trigger: string): string {
  const tables = volumes.map(({ name, bytes }) => `  [[vm.volume]]\n  name = "${name}"\n  size = "${bytes}B"\n`);
  return `name = "${vpg}"
protected_site = "paris"
source_gateway = "source-gateway"
recovery_gateway = "recovery-gateway"
checkpoint_interval = "1s"
target_rpo = "10s"
[[vm]]
name = "${vm}"
${tables.join("")}
${trigger}`;
}
