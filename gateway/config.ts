import { dirname, isAbsolute, join } from "node:path";
import { parse, TomlError } from "smol-toml";
import { z } from "zod";
import { namedFileBytesMax } from "#adapters/embedded/limits.ts";
import { readBounded } from "#adapters/embedded/read-bounded.ts";
import { authOf, iamAccess } from "#adapters/site-access.ts";
import { InvalidInput } from "#core/errors.ts";
import { nameSchema } from "#core/ids.ts";
import { protectionLimits } from "#core/protection/limits.ts";
import { parseBytes, parseDuration, parseRate } from "#core/units.ts";
import { keyBytesMax, keyBytesMin } from "./barrier/limits.ts";
import type { SiteAddress } from "./control/site-client.ts";
import * as limits from "./limits.ts";

/** When an export may be served read-write although the site could not be asked (R17). */
export type StartWithoutGrant =
  | { readonly kind: "never" }
  | { readonly kind: "always" }
  | { readonly kind: "after"; readonly ms: number };

/** What becomes of the exports when this gateway is fenced off by a newer session or term. */
export type OnFenced = "read-only" | "stop" | "continue";

/** How a source gateway of several takes part in their barriers: it coordinates them where it listens. */
export interface BarrierConfig {
  readonly listen: HostAndPort | undefined;
  readonly connect: HostAndPort | undefined;
  /** What all source gateways of the VPG share. */
  readonly key: Uint8Array;
}

export interface SourceVolumeConfig {
  readonly vmName: string;
  readonly name: string;
  /** Absolute. */
  readonly path: string;
  readonly sectorBytes: 512 | 4096;
}

export interface HostAndPort {
  readonly host: string;
  readonly port: number;
}

/** How disks are captured, whether the configuration names them or reverse protection brings them. */
export interface CaptureSettings {
  readonly bufferBytes: number;
  readonly startWithoutGrant: StartWithoutGrant;
  readonly onFenced: OnFenced;
  /** Bytes a second that a sync may read; undefined for no limit. */
  readonly syncBytesPerSecond: number | undefined;
  /** Bytes a second at which disks that guests leave alone are compared with the journal; 0 or undefined: only when it is asked for. */
  readonly scrubBytesPerSecond?: number | undefined;
  readonly drainMs: number;
}

/** The VPG, or this gateway's part of it, whose disks the configuration names. */
export interface SourceVpgConfig {
  readonly name: string;
  /** Absolute path of the Unix socket. */
  readonly socket: string | undefined;
  readonly listen: HostAndPort | undefined;
  /** Undefined when the VPG has one source gateway. */
  readonly barrier: BarrierConfig | undefined;
  readonly volumes: readonly SourceVolumeConfig[];
}

/** Of a throttle schedule: minutes of the day in `timeZone`; one that ends before it begins goes past midnight. */
export interface ThrottleConfig {
  readonly fromMinute: number;
  readonly toMinute: number;
  readonly bytesPerSecond: number;
  /** On which it begins: sun, mon, tue, wed, thu, fri, sat. */
  readonly days: readonly string[];
  /** IANA name. */
  readonly timeZone: string;
}

export interface SourceConfig extends CaptureSettings {
  readonly throttle: readonly ThrottleConfig[];
  /** Whom it replicates to. */
  readonly site: SiteAddress;
  /** Undefined where only reverse protection brings disks to capture. */
  readonly vpg: SourceVpgConfig | undefined;
}

export interface RecoveryConfig {
  /** Whose journal it recovers from. */
  readonly site: SiteAddress;
  /** Absolute: scratch and local disks. */
  readonly directory: string;
  /** Absolute: where copies of disks lie that a VPG may be preseeded with; undefined where none may. */
  readonly preseedDirectory: string | undefined;
}

/** Argument vectors, run without a shell. A missing one is a hook that the VM does not have. */
export interface VmHooks {
  readonly boot?: readonly string[] | undefined;
  /** Asks the VM to shut down; may return before it has. */
  readonly shutdown?: readonly string[] | undefined;
  /** Cuts the VM off. */
  readonly kill?: readonly string[] | undefined;
  /** Exit status as of an init script: 0 runs, 1 to 3 does not, anything else is unknown. */
  readonly status?: readonly string[] | undefined;
  /** Removes the VM, and its disks if that is what it does, after a committed move that was asked to remove the source. */
  readonly remove?: readonly string[] | undefined;
  readonly timeoutMs: number;
}

export interface GatewayConfig {
  /** The site of the sections that name none. */
  readonly site: SiteAddress;
  /** Absolute. */
  readonly stateDirectory: string;
  readonly source: SourceConfig | undefined;
  readonly recovery: RecoveryConfig | undefined;
  /** By VM name. Hooks run with the folder of the configuration file as working directory. */
  readonly hooks: ReadonlyMap<string, VmHooks>;
  readonly directory: string;
}

const argv = z.array(z.string().min(1).max(4096)).min(1).max(64);
const text = z.string().min(1).max(4096);
const bytes = z.string().transform((value, context) => asIssue(context, () => parseBytes(value)));
const duration = z.string().transform((value, context) => asIssue(context, () => parseDuration(value)));

const address = z.string().regex(/^[^\s]+:\d{1,5}$/, 'must be HOST:PORT, such as "127.0.0.1:10809"');

const weekdays = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] as const;

/** "08:30" in minutes of the day; "24:00" is its end. */
const timeOfDay = z
  .string()
  .regex(/^(([01]\d|2[0-3]):[0-5]\d|24:00)$/, 'must be HH:MM, such as "08:00"')
  .transform((value) => Number(value.slice(0, 2)) * 60 + Number(value.slice(3)));

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat("en-GB", { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

const siteUrl = z.url({
  protocol: /^https?$/,
  error: 'must be the URL of the recovery site, such as "http://127.0.0.1:7700"',
});
const siteKeys = {
  auth: z.enum(["token", "iam"]).optional(),
  region: text.optional(),
  token_file: text.optional(),
  ca_file: text.optional(),
};

const fileSchema = z.strictObject({
  site: siteUrl,
  ...siteKeys,
  state: text,
  source: z
    .strictObject({
      site: siteUrl.optional(),
      ...siteKeys,
      vpg: nameSchema.optional(),
      socket: text.optional(),
      listen: address.optional(),
      barrier_listen: address.optional(),
      barrier_connect: address.optional(),
      barrier_key_file: text.optional(),
      buffer: bytes.optional(),
      start_without_grant: z
        .union([z.enum(["never", "always"]), z.string().regex(/^after \S+$/)], {
          error: 'must be "never", "always" or "after TIME", such as "after 10m"',
        })
        .optional(),
      on_fenced: z.enum(["read-only", "stop", "continue"]).optional(),
      sync_rate: bytes.optional(),
      scrub_rate: z.union([z.literal("0").transform(() => 0), bytes]).optional(),
      drain: duration.optional(),
      throttle_time_zone: z
        .string()
        .refine(isTimeZone, "must be an IANA time zone, such as Europe/Berlin")
        .default("UTC"),
      throttle: z
        .array(
          z.strictObject({
            from: timeOfDay,
            to: timeOfDay,
            rate: z.string().transform((value, context) => asIssue(context, () => parseRate(value))),
            days: z
              .array(z.enum(weekdays))
              .min(1)
              .default([...weekdays]),
          }),
        )
        .max(limits.throttlesMax)
        .default([]),
      volume: z
        .array(
          z.strictObject({
            vm: nameSchema,
            name: nameSchema,
            path: text,
            sector: z.union([z.literal(512), z.literal(4096)]).optional(),
          }),
        )
        .min(1)
        .max(protectionLimits.volumesMax)
        .optional(),
    })
    .optional(),
  recovery: z
    .strictObject({ site: siteUrl.optional(), ...siteKeys, directory: text, preseed: text.optional() })
    .optional(),
  hooks: z
    .record(
      nameSchema,
      z.strictObject({
        boot: argv.optional(),
        shutdown: argv.optional(),
        kill: argv.optional(),
        status: argv.optional(),
        remove: argv.optional(),
        timeout: duration.optional(),
      }),
    )
    .optional(),
});
type ConfigFile = z.infer<typeof fileSchema>;

/**
 * Reads a gateway's configuration. Relative paths are relative to the file. `token` is `FARSHORE_TOKEN`'s value, which wins over
 * the file's `token_file`. Throws `InvalidInput` that names the line, the key and the cure.
 */
export function loadGatewayConfig(path: string, token: string | undefined): GatewayConfig {
  const source = readText(path, "The configuration file");
  return parseGatewayConfig(source, { path, token });
}

export function parseGatewayConfig(
  source: string,
  options: { readonly path: string; readonly token: string | undefined },
): GatewayConfig {
  const file = parseFile(source, options.path);
  const directory = dirname(isAbsolute(options.path) ? options.path : join(process.cwd(), options.path));
  const absolute = (path: string): string => (isAbsolute(path) ? path : join(directory, path));
  if (file.source === undefined && file.recovery === undefined) {
    throw new InvalidInput(`${options.path}: a gateway needs a [source] or a [recovery] section, or both`);
  }
  const site = siteOf({ ...file, token: options.token }, options.path, "", absolute);
  const ownSite = (section: SiteKeys, name: string): SiteAddress => {
    if (section.site !== undefined)
      return siteOf({ ...section, site: section.site }, options.path, ` in [${name}]`, absolute);
    const key = (["auth", "region", "token_file", "ca_file"] as const).find((each) => section[each] !== undefined);
    if (key === undefined) return site;
    throw new InvalidInput(`${options.path}: ${key} in [${name}] belongs to a site of its own there: set site too`);
  };
  return {
    site,
    stateDirectory: absolute(file.state),
    source:
      file.source === undefined
        ? undefined
        : sourceOf(file.source, ownSite(file.source, "source"), options.path, absolute),
    recovery:
      file.recovery === undefined
        ? undefined
        : {
            site: ownSite(file.recovery, "recovery"),
            directory: absolute(file.recovery.directory),
            preseedDirectory: file.recovery.preseed === undefined ? undefined : absolute(file.recovery.preseed),
          },
    hooks: new Map(
      Object.entries(file.hooks ?? {}).map(([vm, { timeout, ...hooks }]) => [
        vm,
        { ...hooks, timeoutMs: timeout ?? limits.hookTimeoutMsDefault },
      ]),
    ),
    directory,
  };
}

type SiteKeys = Pick<NonNullable<ConfigFile["recovery"]>, "site" | keyof typeof siteKeys>;

/** `where` is " in [SECTION]" of a section's own site. */
function siteOf(
  keys: SiteKeys & { readonly site: string; readonly token?: string | undefined },
  path: string,
  where: string,
  absolute: (path: string) => string,
): SiteAddress {
  const { site: url, auth, region, token_file: tokenFile, ca_file: ca, token } = keys;
  return {
    url,
    access:
      authOf(url, auth) === "iam"
        ? iamAccess(url, region ?? process.env["AWS_REGION"])
        : { kind: "token", token: token ?? tokenOfFile(tokenFile, path, where, absolute) },
    ca: ca === undefined ? undefined : readText(absolute(ca), "ca_file"),
  };
}

function sourceOf(
  file: NonNullable<ConfigFile["source"]>,
  site: SiteAddress,
  path: string,
  absolute: (path: string) => string,
): SourceConfig {
  const bufferBytes = file.buffer ?? limits.bufferBytesDefault;
  if (bufferBytes < limits.bufferBytesMin || bufferBytes > limits.bufferBytesMax) {
    throw new InvalidInput(`${path}: buffer in [source] must lie between 96MiB and 16GiB`);
  }
  return {
    site,
    vpg: sourceVpgOf(file, path, absolute),
    bufferBytes,
    startWithoutGrant: grantOf(file.start_without_grant ?? "never", path),
    onFenced: file.on_fenced ?? "read-only",
    syncBytesPerSecond: file.sync_rate,
    scrubBytesPerSecond: file.scrub_rate ?? limits.scrubBytesPerSecondDefault,
    drainMs: file.drain ?? limits.drainMsDefault,
    throttle: file.throttle.map(({ from, to, rate, days }) => ({
      ...{ fromMinute: from, toMinute: to, bytesPerSecond: rate, days, timeZone: file.throttle_time_zone },
    })),
  };
}

/** Undefined when the section names neither a VPG nor anything that belongs to one. */
function sourceVpgOf(
  file: NonNullable<ConfigFile["source"]>,
  path: string,
  absolute: (path: string) => string,
): SourceVpgConfig | undefined {
  const { vpg, volume: volumes, socket, listen } = file;
  const barrier = barrierOf(file, path, absolute);
  if ([vpg, volumes, socket, listen, barrier].every((each) => each === undefined)) return undefined;
  if (vpg === undefined || volumes === undefined) {
    throw new InvalidInput(
      `${path}: [source] needs vpg = "NAME" and its [[source.volume]]s, or none of them nor a socket where only reverse protection brings disks`,
    );
  }
  if (socket === undefined && listen === undefined) {
    throw new InvalidInput(`${path}: [source] needs socket = "run/vpg.sock" or listen = "127.0.0.1:10809", or both`);
  }
  const seen = new Set<string>();
  for (const volume of volumes) {
    for (const key of [`${volume.vm}/${volume.name}`, absolute(volume.path)]) {
      if (seen.has(key))
        throw new InvalidInput(`${path}: ${key} is given to two volumes of [source]; each needs its own`);
      seen.add(key);
    }
  }
  return {
    name: vpg,
    socket: socket === undefined ? undefined : absolute(socket),
    listen: listen === undefined ? undefined : hostAndPort(listen),
    barrier,
    volumes: volumes.map((volume) => ({
      vmName: volume.vm,
      name: volume.name,
      path: absolute(volume.path),
      sectorBytes: volume.sector ?? 512,
    })),
  };
}

function grantOf(value: string, path: string): StartWithoutGrant {
  if (value === "never" || value === "always") return { kind: value };
  try {
    return { kind: "after", ms: parseDuration(value.slice("after ".length)) };
  } catch (cause) {
    throw new InvalidInput(
      `${path}: start_without_grant: ${cause instanceof Error ? cause.message : ""}`,
      {},
      { cause },
    );
  }
}

function barrierOf(
  file: NonNullable<ConfigFile["source"]>,
  path: string,
  absolute: (path: string) => string,
): BarrierConfig | undefined {
  const { barrier_listen: listen, barrier_connect: connect, barrier_key_file: keyFile } = file;
  if (listen === undefined && connect === undefined && keyFile === undefined) return undefined;
  if ((listen === undefined) === (connect === undefined)) {
    throw new InvalidInput(
      `${path}: [source] needs either barrier_listen, where the VPG's own source gateway coordinates, or barrier_connect to there`,
    );
  }
  if (keyFile === undefined) {
    throw new InvalidInput(
      `${path}: [source] needs barrier_key_file = "barrier.key" (openssl rand -hex 32 > barrier.key)`,
    );
  }
  const key = Buffer.from(readText(absolute(keyFile), "barrier_key_file").trim(), "utf8");
  if (key.length < keyBytesMin || key.length > keyBytesMax) {
    throw new InvalidInput(
      `${absolute(keyFile)} must hold ${keyBytesMin} to ${keyBytesMax} bytes (openssl rand -hex 32 makes it)`,
    );
  }
  return {
    listen: listen === undefined ? undefined : hostAndPort(listen),
    connect: connect === undefined ? undefined : hostAndPort(connect),
    key,
  };
}

function hostAndPort(value: string): HostAndPort {
  const colon = value.lastIndexOf(":");
  return { host: value.slice(0, colon).replace(/^\[(.*)\]$/, "$1"), port: Number(value.slice(colon + 1)) };
}

function tokenOfFile(
  file: string | undefined,
  path: string,
  where: string,
  absolute: (path: string) => string,
): string {
  if (file === undefined) {
    // The environment has one token, which is the top level's.
    const or = where === "" ? " or FARSHORE_TOKEN" : "";
    throw new InvalidInput(
      `${path}: no token${where}: set token_file = "gateway.token"${or}; "farshore token create --role gateway" makes one`,
    );
  }
  const token = readText(absolute(file), "token_file").trim();
  if (token === "") throw new InvalidInput(`${absolute(file)} is empty; it must hold the gateway's token`);
  return token;
}

const readText = (path: string, what: string): string => readBounded(path, what, namedFileBytesMax).toString("utf8");

function parseFile(source: string, path: string): ConfigFile {
  let raw: unknown;
  try {
    raw = parse(source);
  } catch (cause) {
    if (!(cause instanceof TomlError)) throw cause;
    throw new InvalidInput(`${path}:${cause.line}: not TOML: ${cause.message.split("\n")[0]}`, { path }, { cause });
  }
  const result = fileSchema.safeParse(raw);
  if (result.success) return result.data;
  const issues = result.error.issues.map((issue) => describe(issue, source, path));
  throw new InvalidInput(issues.join("\n"), { path });
}

function describe(issue: z.core.$ZodIssue, source: string, path: string): string {
  const place = issue.path.map(String);
  if (issue.code === "unrecognized_keys") {
    const section = place.filter((part) => !/^\d+$/.test(part)).join(".");
    return issue.keys
      .map(
        (key) =>
          `${path}${lineOf(source, key)}: unknown key "${key}"${section === "" ? "" : ` in [${section}]`}; remove it or correct its spelling`,
      )
      .join("\n");
  }
  const key = place.findLast((part) => !/^\d+$/.test(part)) ?? "";
  return `${path}${lineOf(source, key)}: ${place.join(".")}: ${issue.message}`;
}

/** ":LINE" of the first line that sets the key or opens its section; empty when it stands nowhere (a missing key). */
function lineOf(source: string, key: string): string {
  const escaped = key.replaceAll(/[^\w-]/g, "\\$&");
  const pattern = new RegExp(`^\\s*(\\[+[^\\]]*\\b)?"?${escaped}"?\\s*[=\\].]|[{,]\\s*"?${escaped}"?\\s*=`);
  const line = source.split("\n").findIndex((text) => pattern.test(text));
  return key === "" || line < 0 ? "" : `:${line + 1}`;
}

/** Runs a parser of core/units.ts inside a schema, its complaint becoming the schema's. */
function asIssue(context: z.RefinementCtx, read: () => number): number {
  try {
    return read();
  } catch (error) {
    context.addIssue({ code: "custom", message: error instanceof Error ? error.message : "is not readable" });
    return z.NEVER;
  }
}
