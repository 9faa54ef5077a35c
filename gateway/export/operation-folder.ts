/**
 * What an operation is on this machine, in files: `<directory>/operations/<operationId>/`
 *
 *   attach.json         the command, before anything is done for it
 *   attached.json       all scratches exist
 *   <volume>/           the scratch of a volume (scratch.ts)
 *   vm-<name>.json      what of a VM's boot is known
 *   promoted.json       all volumes are plain local disks
 *   captured.json       the promoted volumes are the protected disks of their VPG, in which term
 *   detached.json       the exports are ended for good, and when the rest may go
 *
 * A folder with detached.json moves to `<directory>/kept/` and is removed there when its time has come.
 */
import { readdir, rename, rm } from "node:fs/promises";
import path from "node:path";
import { z } from "zod";
import { InvalidInput } from "#core/errors.ts";
import { type Id, idSchema, nameSchema } from "#core/ids.ts";
import { parseStored } from "#core/json.ts";
import { type CommandBody, commandBodySchema } from "#core/protection/command.ts";
import { makeFolderDurable, readFileIfThere, removeFileDurable, syncFolder, writeFileDurable } from "./durable-file.ts";

export type AttachBody = Extract<CommandBody, { kind: "attach-volumes" }>;

const attachRecordSchema = z.object({ formatVersion: z.literal(1), body: commandBodySchema });
const attachedRecordSchema = z.object({ formatVersion: z.literal(1) });
const promotedRecordSchema = z.object({ formatVersion: z.literal(1), bytes: z.int() });
const capturedRecordSchema = z.object({ formatVersion: z.literal(1), term: z.int() });
const detachedRecordSchema = z.object({ formatVersion: z.literal(1), keptUntil: z.int() });
const vmRecordSchema = z.object({ formatVersion: z.literal(1), boot: z.enum(["starting", "started"]) });

export type BootState = z.infer<typeof vmRecordSchema>["boot"];

/** The records of one operation. */
export class OperationFolder {
  readonly operationId: Id;
  readonly path: string;

  constructor(directory: string, operationId: Id) {
    this.operationId = operationId;
    this.path = path.join(operationsFolder(directory), operationId);
  }

  volumeFolder(volume: number): string {
    return path.join(this.path, String(volume));
  }

  async attachBody(): Promise<AttachBody | undefined> {
    const record = await this.#read("attach.json", attachRecordSchema);
    return record?.body.kind === "attach-volumes" ? record.body : undefined;
  }

  async recordAttach(body: AttachBody): Promise<void> {
    await makeFolderDurable(this.path);
    await this.#write("attach.json", { body });
  }

  async isAttached(): Promise<boolean> {
    return (await this.#read("attached.json", attachedRecordSchema)) !== undefined;
  }

  recordAttached(): Promise<void> {
    return this.#write("attached.json", {});
  }

  /** Bytes copied, when all volumes are local. */
  async promotedBytes(): Promise<number | undefined> {
    return (await this.#read("promoted.json", promotedRecordSchema))?.bytes;
  }

  recordPromoted(bytes: number): Promise<void> {
    return this.#write("promoted.json", { bytes });
  }

  /** The newest term in which the volumes were taken as protected disks; undefined when they never were. */
  async capturedTerm(): Promise<number | undefined> {
    return (await this.#read("captured.json", capturedRecordSchema))?.term;
  }

  recordCaptured(term: number): Promise<void> {
    return this.#write("captured.json", { term });
  }

  async isDetached(): Promise<boolean> {
    return (await this.#read("detached.json", detachedRecordSchema)) !== undefined;
  }

  recordDetached(keptUntil: number): Promise<void> {
    return this.#write("detached.json", { keptUntil });
  }

  async bootState(vm: string): Promise<BootState | undefined> {
    return (await this.#read(vmFile(vm), vmRecordSchema))?.boot;
  }

  recordBoot(vm: string, boot: BootState): Promise<void> {
    return this.#write(vmFile(vm), { boot });
  }

  forgetBoot(vm: string): Promise<void> {
    return removeFileDurable(path.join(this.path, vmFile(vm)));
  }

  async #read<T>(file: string, schema: z.ZodType<T>): Promise<T | undefined> {
    const full = path.join(this.path, file);
    const text = await readFileIfThere(full);
    return text === undefined ? undefined : parseStored(schema, Buffer.from(text), full);
  }

  #write(file: string, fields: object): Promise<void> {
    return writeFileDurable(path.join(this.path, file), `${JSON.stringify({ formatVersion: 1, ...fields })}\n`);
  }
}

/** Makes the folders that everything here stands in. */
export async function prepareDirectory(directory: string): Promise<void> {
  for (const folder of [operationsFolder(directory), keptFolder(directory)]) await makeFolderDurable(folder);
}

/** Operations that left something in the directory, detached ones that were not moved away yet included. */
export async function foldersIn(directory: string): Promise<OperationFolder[]> {
  const names = await readdir(operationsFolder(directory));
  return names.flatMap((name) => {
    const id = idSchema.safeParse(name);
    return id.success ? [new OperationFolder(directory, id.data)] : [];
  });
}

/** Moves an operation's folder out of the way, so that the same operation may attach anew, and answers where to. One without detached.json is swept there. */
export async function moveToKept(directory: string, folder: OperationFolder): Promise<string> {
  const taken = new Set(await readdir(keptFolder(directory)));
  let number = 1;
  while (taken.has(`${folder.operationId}.${number}`)) number += 1;
  const moved = path.join(keptFolder(directory), `${folder.operationId}.${number}`);
  await rename(folder.path, moved);
  await syncFolder(keptFolder(directory));
  await syncFolder(operationsFolder(directory));
  return moved;
}

/** A detached operation, or one of its tries, as it is kept. */
export interface KeptFolder {
  readonly operationId: Id;
  /** Of those of the operation, in the order they were detached, from 1. */
  readonly number: number;
  readonly keptUntil: number;
  readonly body: AttachBody;
  volumeFolder(volume: number): string;
}

/** What is kept, in the order of operations; what is being removed is left out. */
export async function keptFoldersIn(directory: string): Promise<KeptFolder[]> {
  const found: KeptFolder[] = [];
  for (const name of (await readdir(keptFolder(directory))).sort()) {
    const [id, digits] = name.split(".");
    const folder = path.join(keptFolder(directory), name);
    const [detached, attach] = await Promise.all(
      ["detached.json", "attach.json"].map((file) => readFileIfThere(path.join(folder, file))),
    );
    if (detached === undefined || attach === undefined) continue;
    const { keptUntil } = parseStored(detachedRecordSchema, Buffer.from(detached), folder);
    const { body } = parseStored(attachRecordSchema, Buffer.from(attach), folder);
    if (body.kind !== "attach-volumes") continue;
    const volumeFolder = (volume: number): string => path.join(folder, String(volume));
    found.push({ operationId: idSchema.parse(id), number: Number(digits), keptUntil, body, volumeFolder });
  }
  const rank = ({ operationId, number }: KeptFolder): string => `${operationId}.${String(number).padStart(6, "0")}`;
  return found.sort((left, right) => (rank(left) < rank(right) ? -1 : 1));
}

/** Removes kept folders whose time has come by `now` (ms since the epoch). */
export async function sweepKept(directory: string, now: number): Promise<void> {
  const names = await readdir(keptFolder(directory));
  for (const name of names) {
    const folder = path.join(keptFolder(directory), name);
    const text = await readFileIfThere(path.join(folder, "detached.json"));
    // Without the record its removal had begun already: the record goes last.
    const record = text === undefined ? { keptUntil: 0 } : parseStored(detachedRecordSchema, Buffer.from(text), folder);
    if (record.keptUntil > now) continue;
    for (const inside of await readdir(folder)) {
      if (inside !== "detached.json") await rm(path.join(folder, inside), { recursive: true, force: true });
    }
    await rm(folder, { recursive: true, force: true });
  }
}

function operationsFolder(directory: string): string {
  return path.join(directory, "operations");
}

function keptFolder(directory: string): string {
  return path.join(directory, "kept");
}

function vmFile(vm: string): string {
  const name = nameSchema.safeParse(vm);
  if (!name.success) throw new InvalidInput(`${JSON.stringify(vm)} is no VM's name`, { vm });
  return `vm-${name.data}.json`;
}
