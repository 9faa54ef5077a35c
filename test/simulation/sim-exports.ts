import type { BlockDevice } from "../../gateway/disk/block-device.ts";
import type { ExportServer } from "../../gateway/source/source-host.ts";

interface SimExport {
  readonly device: BlockDevice;
  readonly readOnly: boolean;
  readonly requests: Set<Promise<unknown>>;
  dropped: boolean;
}

/** How a guest's request went; "gone" when the connection broke first and nobody knows. */
export type Answer = "done" | "failed" | "gone";

/** Disks served without sockets: guests of the same process call them, and lose their connection as they would. */
export class SimExports implements ExportServer {
  readonly #exports = new Map<string, SimExport>();

  addExport(name: string, device: BlockDevice, options: { readonly readOnly?: boolean } = {}): void {
    if (this.#exports.has(name)) throw new TypeError(`export ${name} is there already`);
    this.#exports.set(name, { device, readOnly: options.readOnly ?? false, requests: new Set(), dropped: false });
  }

  async removeExport(name: string): Promise<void> {
    const found = this.#exports.get(name);
    this.#exports.delete(name);
    if (found === undefined) return;
    found.dropped = true;
    await Promise.allSettled([...found.requests]);
  }

  async listenUnix(): Promise<void> {}

  async listenTcp(): Promise<number> {
    return 0;
  }

  async close(): Promise<void> {
    for (const name of [...this.#exports.keys()]) await this.removeExport(name);
  }

  /** The process died: its clients are gone, whatever becomes of their requests. */
  die(): void {
    for (const each of this.#exports.values()) each.dropped = true;
    this.#exports.clear();
  }

  /** As the clients were told; 0 where nothing is exported. */
  sizeOf(name: string): number {
    return this.#exports.get(name)?.device.sizeBytes ?? 0;
  }

  takesWrites(name: string): boolean {
    return this.#exports.get(name)?.readOnly === false;
  }

  /** `over` is called when nothing of the request can reach the disk any more. */
  async request(name: string, ask: (device: BlockDevice) => void | Promise<void>, over: () => void): Promise<Answer> {
    const found = this.#exports.get(name);
    if (found === undefined || found.readOnly) return "gone";
    const work = outcomeOf(() => ask(found.device)).then((outcome) => {
      over();
      return found.dropped ? "gone" : outcome;
    });
    found.requests.add(work);
    const answer = await work;
    found.requests.delete(work);
    return answer;
  }
}

async function outcomeOf(ask: () => void | Promise<void>): Promise<Answer> {
  try {
    await ask();
    return "done";
  } catch {
    return "failed";
  }
}
