import { dirname, isAbsolute, join } from "node:path";
import { parse, TomlError } from "smol-toml";
import { z } from "zod";
import { namedFileBytesMax } from "#adapters/embedded/limits.ts";
import { readBounded } from "#adapters/embedded/read-bounded.ts";
import { authOf, iamAccess, type SiteAccess } from "#adapters/site-access.ts";
import { InvalidInput } from "#core/errors.ts";
import { nameSchema } from "#core/ids.ts";
import { protectionLimits } from "#core/protection/limits.ts";
import { parseBytes, parseDuration } from "#core/units.ts";
import { keyBytesMax, keyBytesMin } from "./barrier/limits.ts";
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

export interface SourceConfig {
  readonly vpg: string;
  /** Absolute path of the Unix socket. */
  readonly socket: string | undefined;
  readonly listen: HostAndPort | undefined;
  /** Undefined when the VPG has one source gateway. */
  readonly barrier: BarrierConfig | undefined;
  readonly bufferBytes: number;
  readonly startWithoutGrant: StartWithoutGrant;
  readonly onFenced: OnFenced;
  /** Bytes a second that a sync may read; undefined for no limit. */
  readonly syncBytesPerSecond: number | undefined;
  readonly drainMs: number;
  readonly volumes: readonly SourceVolumeConfig[];
}

export interface RecoveryConfig {
  /** Absolute: scratch and local disks. */
  readonly directory: string;
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
  readonly timeoutMs: number;
}

export interface GatewayConfig {
  readonly site: string;
  readonly access: SiteAccess;
  /** PEM of a certificate authority to trust for the site, besides the system's. */
  readonly ca: string | undefined;
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

const fileSchema = z.strictObject({
  site: z.url({ protocol: /^https?$/, error: 'must be the URL of the recovery site, such as "http://127.0.0.1:7700"' }),
  auth: z.enum(["token", "iam"]).optional(),
  region: text.optional(),
  token_file: text.optional(),
  ca_file: text.optional(),
  state: text,
  source: z
    .strictObject({
      vpg: nameSchema,
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
      drain: duration.optional(),
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
        .max(protectionLimits.volumesMax),
    })
    .optional(),
  recovery: z.strictObject({ directory: text }).optional(),
  hooks: z
    .record(
      nameSchema,
      z.strictObject({
        boot: argv.optional(),
        shutdown: argv.optional(),
        kill: argv.optional(),
        status: argv.optional(),
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
  return {
    site: file.site,
    access:
      authOf(file.site, file.auth) === "iam"
        ? iamAccess(file.site, file.region ?? process.env["AWS_REGION"])
        : { kind: "token", token: options.token ?? tokenOfFile(file, options.path, absolute) },
    ca: file.ca_file === undefined ? undefined : readText(absolute(file.ca_file), "ca_file"),
    stateDirectory: absolute(file.state),
    source: file.source === undefined ? undefined : sourceOf(file.source, options.path, absolute),
    recovery: file.recovery === undefined ? undefined : { directory: absolute(file.recovery.directory) },
    hooks: new Map(
      Object.entries(file.hooks ?? {}).map(([vm, { timeout, ...hooks }]) => [
        vm,
        { ...hooks, timeoutMs: timeout ?? limits.hookTimeoutMsDefault },
      ]),
    ),
    directory,
  };
}

function sourceOf(
  file: NonNullable<ConfigFile["source"]>,
  path: string,
  absolute: (path: string) => string,
): SourceConfig {
  if (file.socket === undefined && file.listen === undefined) {
    throw new InvalidInput(`${path}: [source] needs socket = "run/vpg.sock" or listen = "127.0.0.1:10809", or both`);
  }
  const bufferBytes = file.buffer ?? limits.bufferBytesDefault;
  if (bufferBytes < limits.bufferBytesMin || bufferBytes > limits.bufferBytesMax) {
    throw new InvalidInput(`${path}: buffer in [source] must lie between 96MiB and 16GiB`);
  }
  const seen = new Set<string>();
  for (const volume of file.volume) {
    for (const key of [`${volume.vm}/${volume.name}`, absolute(volume.path)]) {
      if (seen.has(key))
        throw new InvalidInput(`${path}: ${key} is given to two volumes of [source]; each needs its own`);
      seen.add(key);
    }
  }
  return {
    vpg: file.vpg,
    socket: file.socket === undefined ? undefined : absolute(file.socket),
    listen: file.listen === undefined ? undefined : hostAndPort(file.listen),
    barrier: barrierOf(file, path, absolute),
    bufferBytes,
    startWithoutGrant: grantOf(file.start_without_grant ?? "never", path),
    onFenced: file.on_fenced ?? "read-only",
    syncBytesPerSecond: file.sync_rate,
    drainMs: file.drain ?? limits.drainMsDefault,
    volumes: file.volume.map((volume) => ({
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

function tokenOfFile(file: ConfigFile, path: string, absolute: (path: string) => string): string {
  if (file.token_file === undefined) {
    throw new InvalidInput(
      `${path}: no token: set token_file = "gateway.token" or FARSHORE_TOKEN; "farshore token create --role gateway" makes one`,
    );
  }
  const token = readText(absolute(file.token_file), "token_file").trim();
  if (token === "") throw new InvalidInput(`${absolute(file.token_file)} is empty; it must hold the gateway's token`);
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
