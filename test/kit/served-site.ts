import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import type { TokenRole } from "#core/api/site-api.ts";
import { type VpgView, vpgViewSchema } from "#core/api/site-api.ts";
import type { Id } from "#core/ids.ts";
import { type ServedSite, serveSite } from "../../cli/site/serve.ts";
import { type HttpAnswer, type HttpCall, httpCall } from "./http-call.ts";
import { QuietLog } from "./quiet-log.ts";

export const servedVpg = "shop";
export const servedVm = "db";
export const servedVmElsewhere = "web";

export interface ServedPlan {
  readonly volumes: readonly { readonly name: string; readonly sizeBytes: number }[];
  readonly checkpointIntervalMs: number;
  /** Of a second VM, whose disks are on gateway lyon-gw (the token of the stranger). */
  readonly elsewhere?: readonly { readonly name: string; readonly sizeBytes: number }[];
}

/** An embedded site in this process, on loopback, with one VPG and tokens of every role: real functions, real files. */
export class SiteStage {
  readonly directory: string;
  readonly url: string;
  readonly log: QuietLog;
  readonly vpgId: Id;
  readonly tokens: Readonly<
    Record<"operator" | "viewer" | "approver" | "peer" | "source" | "recovery" | "stranger", string>
  >;
  readonly #served: ServedSite;

  private constructor(facts: Pick<SiteStage, "directory" | "url" | "log" | "vpgId" | "tokens">, served: ServedSite) {
    this.directory = facts.directory;
    this.url = facts.url;
    this.log = facts.log;
    this.vpgId = facts.vpgId;
    this.tokens = facts.tokens;
    this.#served = served;
  }

  static async start(plan: ServedPlan): Promise<SiteStage> {
    const directory = mkdtempSync(join(tmpdir(), "fs-"));
    const log = new QuietLog();
    const served = await serveSite({
      dataDir: join(directory, "berlin"),
      name: "berlin",
      listen: "127.0.0.1:0",
      log,
    });
    const operator = readFileSync(served.operatorTokenFile, "utf8").trim();
    const post = async (path: string, body: object): Promise<unknown> => {
      const answer = await httpCall(served.url, path, { method: "POST", token: operator, body });
      if (answer.status !== 201) throw new Error(`${path}: ${answer.text}`);
      return answer.json();
    };
    const token = async (role: TokenRole, name: string): Promise<string> =>
      z.object({ token: z.string() }).parse(await post("/v1/tokens", { role, name })).token;
    const tokens = {
      operator,
      viewer: await token("viewer", "eve"),
      approver: await token("approver", "ada"),
      peer: await token("peer", "paris"),
      source: await token("gateway", "paris-gw"),
      recovery: await token("gateway", "berlin-gw"),
      stranger: await token("gateway", "lyon-gw"),
    };
    const { vpgId } = vpgViewSchema.parse(
      await post("/v1/vpgs", {
        name: servedVpg,
        protectedSite: "paris",
        sourceGateway: "paris-gw",
        recoveryGateway: "berlin-gw",
        compute: "gateway",
        checkpointIntervalMs: plan.checkpointIntervalMs,
        vms: [
          { name: servedVm, volumes: plan.volumes },
          ...(plan.elsewhere === undefined
            ? []
            : [{ name: servedVmElsewhere, sourceGateway: "lyon-gw", volumes: plan.elsewhere }]),
        ],
      }),
    );
    return new SiteStage({ directory, url: served.url, log, vpgId, tokens }, served);
  }

  get dataDir(): string {
    return join(this.directory, "berlin");
  }

  call(path: string, call: HttpCall = {}): Promise<HttpAnswer> {
    return httpCall(this.url, path, call);
  }

  async vpg(): Promise<VpgView> {
    return vpgViewSchema.parse((await this.call(`/v1/vpgs/${servedVpg}`, { token: this.tokens.viewer })).json());
  }

  /** Stops the site; the directory stays until `remove`. */
  async close(): Promise<void> {
    await this.#served.close();
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}
