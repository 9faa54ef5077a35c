import { closeSync, existsSync, fdatasyncSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { formatNbdUri } from "../gateway/nbd/uri.ts";
import type { BenchContext } from "./bench.ts";
import { Running } from "./programs.ts";
import { BenchStage } from "./stage.ts";

/** A disk that somebody serves over NBD on a Unix socket. */
export interface Exported {
  readonly subject: string;
  readonly uri: string;
  readonly file: string;
  /** Resolves when nothing that the last writes set off is still at work. */
  settle(): Promise<void>;
  stop(): Promise<void>;
}

/** Fills a new file with bytes, so that no write has to allocate. */
export function makeDisk(path: string, bytes: number): string {
  const piece = Buffer.alloc(2 ** 20, 0x5a);
  const fd = openSync(path, "w");
  for (let at = 0; at < bytes; at += piece.length) writeSync(fd, piece, 0, Math.min(piece.length, bytes - at), at);
  closeSync(fd);
  return path;
}

/** Reads the whole file, holes too, so that whoever reads it next finds it in the page cache. */
export function readIn(path: string): void {
  const piece = Buffer.alloc(2 ** 20);
  const fd = openSync(path, "r");
  while (readSync(fd, piece) > 0);
  closeSync(fd);
}

/** Nothing of the file is left dirty in the page cache. */
export function writeOut(path: string): void {
  const fd = openSync(path, "r+");
  fdatasyncSync(fd);
  closeSync(fd);
}

async function served(
  subject: string,
  file: string,
  socketPath: string,
  exportName: string,
  program: string,
  args: readonly string[],
): Promise<Exported> {
  const server = new Running(program, args);
  await server.until(() => existsSync(socketPath));
  const uri = formatNbdUri({ socketPath }, exportName);
  return { subject, uri, file, settle: async () => undefined, stop: () => server.stop() };
}

/** `nbdkit file` as it comes: threads, the page cache, its own fadvise. */
export function nbdkitFile(context: BenchContext, folder: string, bytes: number): Promise<Exported> {
  const socket = join(folder, "nbdkit.sock");
  const file = makeDisk(join(folder, "nbdkit.img"), bytes);
  const args = ["--foreground", "--unix", socket, "file", `file=${file}`];
  return served("nbdkit file", file, socket, "", context.program("nbdkit"), args);
}

/** `qemu-nbd` with the page cache, as the others use it. */
export function qemuNbd(context: BenchContext, folder: string, bytes: number): Promise<Exported> {
  const socket = join(folder, "qemu.sock");
  const file = makeDisk(join(folder, "qemu.img"), bytes);
  const args = ["--format=raw", "--cache=writeback", "--persistent", "--shared=0", `--socket=${socket}`, file];
  return served("qemu-nbd", file, socket, "", context.program("qemu-nbd"), args);
}

/** Our server over a file, its writes journaled by nobody: what the tap costs is the difference. */
export function plainFarshore(folder: string, bytes: number): Promise<Exported> {
  const socket = join(folder, "plain.sock");
  const file = makeDisk(join(folder, "plain.img"), bytes);
  const script = new URL("./nbd-server.ts", import.meta.url).pathname;
  return served("farshore, no tap", file, socket, "disk", process.execPath, [script, file, socket]);
}

/**
 * Our gateway as it runs in production: its disk in `folder`, every write shipped to a recovery site of its own process, whose
 * journal is on disk. What would run on other machines has the lowest priority here.
 */
export async function replicatedFarshore(context: BenchContext, folder: string, bytes: number): Promise<Exported> {
  const directory = mkdtempSync(join(context.diskFolder, "stage-"));
  const file = makeDisk(join(folder, "replicated.img"), bytes);
  const plan = { volumes: [{ name: "disk", bytes, disk: file }], checkpointInterval: "5s" };
  const stage = await BenchStage.set(directory, plan);
  try {
    await stage.settled();
    if (process.platform === "linux")
      for (const name of ["site-berlin", "site-paris", "gateway-berlin"]) stage.giveWay(name);
  } catch (error) {
    await stage.stop();
    throw error;
  }
  return {
    subject: "farshore, replicating",
    uri: stage.stage.sourceUris[0] ?? "",
    file,
    settle: async () => void (await stage.settled()),
    async stop() {
      await stage.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
